"""The page about the KV index names what there is."""

import re
from pathlib import Path

import pytest

from farsight.index.standings import Flaw
from farsight.settings import ServiceSettings
from services.indexer.settings import IndexerSettings
from services.router.settings import RouterSettings
from services.sidecar.settings import SidecarSettings
from tests.fuzz import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kv-index.md").read_text()
CODE = [path.read_text() for top in ("farsight", "services") for path in (ROOT / top).rglob("*.py")]


@pytest.mark.parametrize("flaw", [flaw for flaw in Flaw if flaw.reason])
def test_reasons_of_the_indexer_are_explained(flaw: Flaw) -> None:
    """Each has a row that says how it heals."""
    assert f"| `{flaw.reason}` |" in PAGE


def test_reasons_of_the_sidecar_are_explained() -> None:
    """Each that its code gives by name, in the stream or the mirror."""
    code = "".join(path.read_text() for path in (ROOT / "services" / "sidecar").glob("*.py"))
    given = {
        *re.findall(r"(?:lose|Resync)\(\s*\"([a-z-]+)\"", code),
        *re.findall(r"_unsupported or \"([a-z-]+)\"", code),
        *re.findall(r"return \"(orphan-blocks|block-size|catching-up)\"", code),
        *re.findall(r"\"(no-[a-z]+-events)\"", code),
    }

    assert {"gap", "kv-group", "partial-replay", "no-live-events"} <= given
    assert {reason for reason in given if f"`{reason}`" not in PAGE} == set()


def test_settings_exist() -> None:
    """Under the service that the table says."""
    services: dict[str, type[ServiceSettings]] = {
        "indexer": IndexerSettings,
        "sidecar": SidecarSettings,
        "router": RouterSettings,
    }
    rows = re.findall(r"^\| (`[^|]+`) \| (indexer|sidecar|router) \|", PAGE, re.MULTILINE)

    missing = [
        name
        for names, service in rows
        for name in re.findall(r"`([a-z_]+)`", names)
        if name not in services[service].model_fields
    ]
    assert rows
    assert missing == []


def test_metrics_exist() -> None:
    """Each is registered somewhere in the code."""
    names = set(re.findall(r"farsight_[a-z_]+", PAGE))

    unknown = {n for n in names if not any(f'"{n.removesuffix("_total")}"' in c for c in CODE)}

    assert names
    assert unknown == set()


def test_tests_of_semantics_and_pitfalls_exist() -> None:
    """Each that the tables name is there, and each item has one."""
    _, tables = PAGE.split("## Wire semantics and pitfalls, and where each is tested\n")
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", tables, re.MULTILINE)
    named = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests) for _, tests in rows]

    assert [int(item) for item, _ in rows] == [*range(1, 9), *range(1, 14)]
    assert all(named)
    missing = [
        (path, name)
        for path, name in {test for tests in named for test in tests}
        if f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert missing == []


def test_fuzz_targets_are_those_of_make() -> None:
    """`make fuzz` runs every target."""
    (made,) = re.findall(r"^FUZZ_TARGETS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert made.split() == list(registry.TARGETS)
