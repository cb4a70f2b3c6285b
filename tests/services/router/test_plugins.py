"""The registry: one file, one plugin, one name."""

from importlib import resources
from types import ModuleType

import pytest

from services.router import filters, pickers, scorers
from services.router.plugins import REGISTRY, load_all, scorer


@pytest.mark.parametrize(
    ("package", "names"),
    [
        (filters, load_all().filters),
        (scorers, load_all().scorers),
        (pickers, load_all().pickers),
    ],
    ids=["filters", "scorers", "pickers"],
)
def test_each_file_registers_one_plugin_under_its_stem(
    package: ModuleType, names: dict[str, type]
) -> None:
    """File stem, with dashes, is the registered name; there are no others."""
    stems = {
        file.name.removesuffix(".py").replace("_", "-")
        for file in resources.files(package.__name__).iterdir()
        if file.name.endswith(".py") and file.name != "__init__.py"
    }

    assert set(names) == stems


def test_every_scorer_has_a_category() -> None:
    """The category is what the one-sidedness warning is made from."""
    assert REGISTRY.categories.keys() == load_all().scorers.keys()


def test_a_name_can_be_taken_once() -> None:
    """Two plugins of one name are a mistake of the programmer."""
    load_all()

    with pytest.raises(TypeError, match="two plugins are called prefix"):
        scorer("prefix", "affinity")(type("Other", (), {}))
