"""The result directory: names, what survives, and what a bad file does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.errors import InvalidField
from sim.cells import CellKey, CellResult, Cost, ResultStore, deterministic_bytes
from tests.fakes.cell_results import cell, ladder_cell


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """An empty store in a directory that is not there yet."""
    return ResultStore(tmp_path / "results" / "b2b")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """That directory."""
    return tmp_path / "results" / "b2b"


@pytest.mark.parametrize(
    "result",
    [
        cell(settings=(("gauge_interval_s", "0.05"), ("reports", "late"))),
        cell(rate=None, concurrency=60),
        ladder_cell("random", 3, {3.0: 0.2, 20.0: 8.0}),
    ],
)
def test_a_cell_comes_back_as_it_was(store: ResultStore, result: CellResult) -> None:
    """With its stages, None where it was None, and its cost."""
    assert not store.has(result.key)

    store.write(result)

    assert store.has(result.key)
    assert store.read_all().results == (result,)


def test_a_file_name_says_what_the_cell_is(store: ResultStore, directory: Path) -> None:
    """Names sort by workload and policy, and hold no separator of paths."""
    store.write(cell("affinity/0.8", rate=3.5, seed=7))

    (path,) = directory.iterdir()

    assert path.name.startswith("b2b-saas_affinity-0.8_8pods_3.5rps_seed7_")
    assert path.name.endswith(".cell.json")


def test_a_name_is_the_same_on_every_machine() -> None:
    """A changed scheme would run every finished cell again."""
    key = CellKey("b2b-saas", "random", 8, 20, None, 1, (("b", "2"), ("a", "1")))

    assert key == CellKey("b2b-saas", "random", 8, 20.0, None, 1, (("a", "1"), ("b", "2")))
    assert key.stem == "b2b-saas_random_8pods_20rps_seed1_557f77536006"


names = st.text(min_size=1, max_size=80)
keys = st.builds(
    CellKey,
    workload=names,
    policy=names,
    pods=st.integers(1, 100),
    rate=st.none() | st.floats(0.1, 1e4),
    concurrency=st.none(),
    seed=st.integers(0, 2**32),
    settings=st.dictionaries(names, names, max_size=2).map(lambda d: tuple(d.items())),
)


@given(keys, keys)
def test_different_keys_have_different_names(first: CellKey, second: CellKey) -> None:
    """However long or odd their parts are; every name is one that a file may have."""
    assert (first.stem == second.stem) == (first == second)
    assert first.stem.isascii()
    assert "/" not in first.stem
    assert len(first.stem) < 200


def test_keys_that_look_alike_have_different_names() -> None:
    """The readable part alone would not tell them apart."""
    alike = [cell("a/b"), cell("a-b"), cell("a-b", rate=10.0000001), cell("a-b", seed=11)]

    assert len({result.key.stem for result in alike}) == 4


@pytest.mark.parametrize(("settings", "concurrency"), [((("a", "1"), ("a", "2")), None), ((), 50)])
def test_a_key_says_each_thing_once(
    settings: tuple[tuple[str, str], ...], concurrency: int | None
) -> None:
    """Two values of one setting, or two kinds of load, are no cell."""
    with pytest.raises(InvalidField):
        CellKey("b2b-saas", "random", 8, 20.0, concurrency, 1, settings)


def test_only_the_cost_is_left_out_of_the_comparison() -> None:
    """A slower machine has equal bytes, another decision has not."""
    result = cell()

    slower = replace(result, cost=Cost(wall_s=900.0, peak_rss_mb=2000.0))
    other = replace(result, decisions=result.decisions + 1)

    assert deterministic_bytes(slower) == deterministic_bytes(result)
    assert deterministic_bytes(other) != deterministic_bytes(result)


def test_a_failed_cell_loses_no_finished_one(store: ResultStore) -> None:
    """It is not finished, so it runs again when the matrix goes on."""
    done, failed = cell("random"), cell("least-requests")

    store.write(done)
    store.failed(failed.key, "Overloaded: no room")

    stored = store.read_all()
    assert stored.results == (done,)
    assert [(f.key, f.error) for f in stored.failures] == [(failed.key, "Overloaded: no room")]
    assert not store.has(failed.key)


def test_success_forgets_the_failure(store: ResultStore) -> None:
    """A later run of the same cell that ends well."""
    result = cell()
    store.failed(result.key, "interrupted")

    store.write(result)

    stored = store.read_all()
    assert (stored.results, stored.failures) == ((result,), ())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b'"pods": 8', b'"pods": "8"'),
        lambda text: text.replace(b'"decisions"', b'"choices"'),
        lambda text: text.replace(b'"concurrency": null', b'"concurrency": 5'),
        lambda text: text.replace(b'"seed": 2', b'"seed": 1'),
        lambda text: b"\xff" + text,
    ],
)
def test_a_bad_file_is_named_and_stops_no_other(
    store: ResultStore, directory: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Cut short, of a wrong type, without a field, not a key, another cell's, or not text."""
    good, bad = cell(seed=1), cell(seed=2)
    store.write(good)
    store.write(bad)
    path = directory / f"{bad.key.stem}.cell.json"
    path.write_bytes(damage(path.read_bytes()))

    stored = store.read_all()

    assert stored.results == (good,)
    (error,) = stored.unreadable
    assert path.name in str(error)
    assert not store.has(bad.key)


def test_only_whole_files_are_seen(store: ResultStore, directory: Path) -> None:
    """Nothing is left aside, also when the write fails: here the name is taken by a directory."""
    result = cell()
    (directory / f"{result.key.stem}.cell.json").mkdir()

    with pytest.raises(OSError, match="directory"):
        store.write(result)

    assert len(list(directory.iterdir())) == 1


def test_other_files_are_no_cells(store: ResultStore, directory: Path) -> None:
    """The report lies in the same directory."""
    (directory / "report.html").write_text("<html>")
    (directory / "simulator.json").write_text("{}")

    stored = store.read_all()

    assert (stored.results, stored.failures, stored.unreadable) == ((), (), ())
