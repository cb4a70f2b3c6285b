"""CONTRIBUTING's scorer works as it is printed."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from services.router.plugins import REGISTRY, load_all
from services.router.profile import parse
from tests.services.router.given import candidates, view

PAGE = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text()


def indented_block(language: str) -> str:
    """The page's only fenced block of a language, without its indentation."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return "\n".join(line.removeprefix("   ") for line in block.splitlines())


@pytest.fixture
def printed_scorer() -> Iterator[None]:
    """The tutorial's file, imported, and forgotten afterwards."""
    load_all()
    name = "services.router.scorers.kv_room"
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(indented_block("python"), name, "exec"), vars(module))
    yield
    del sys.modules[name], REGISTRY.scorers["kv-room"], REGISTRY.categories["kv-room"]


@pytest.mark.usefixtures("printed_scorer")
def test_the_printed_scorer_decides() -> None:
    """One file and the printed profile: the endpoint with the emptier cache is chosen."""
    (text,) = re.findall(r"profiles/roomy '(.*?)'", PAGE, re.DOTALL)
    profile = parse("roomy", text.replace("\n       ", "\n"), REGISTRY)

    choice = profile.choose(view(), candidates(2, kv_usage_ratio=[0.9, 0.2]))

    assert choice.position == 1
    assert [name for name, _ in choice.scores] == ["kv-room"]
