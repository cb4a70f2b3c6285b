"""Compiled kernels do not outlive their sources."""

import os
from pathlib import Path

import pytest

from farsight.kernel_cache import drop_stale


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package with two sources and what Numba has stored for one of them."""
    (tmp_path / "caller.py").write_text("import callee\n")
    (tmp_path / "callee.py").write_text("x = 1\n")
    drop_stale(tmp_path.glob("*.py"), tmp_path / "__pycache__")
    store(tmp_path)
    return tmp_path


def store(folder: Path) -> None:
    """An index, a compiled function, and Python's own bytecode."""
    for name in ("caller.f-1.py311.nbi", "caller.f-1.py311.1.nbc", "caller.cpython-311.pyc"):
        (folder / "__pycache__" / name).write_bytes(b"stored")


def stored(folder: Path) -> list[str]:
    """Endings of what is there."""
    return sorted(path.suffix for path in (folder / "__pycache__").iterdir())


def test_unchanged_sources_keep_their_kernels(folder: Path) -> None:
    """Every import checks, and finds nothing to do."""
    drop_stale(folder.glob("*.py"), folder / "__pycache__")

    assert stored(folder) == [".nbc", ".nbi", ".pyc", ".sha256"]


@pytest.mark.parametrize("change", ["edited", "added", "removed", "renamed"])
def test_any_change_drops_the_kernels_of_all_files(folder: Path, change: str) -> None:
    """A caller is compiled with what it calls; Python's bytecode is not ours to drop."""
    if change == "edited":
        (folder / "callee.py").write_text("x = 2\n")
    elif change == "added":
        (folder / "new.py").write_text("")
    elif change == "removed":
        (folder / "callee.py").unlink()
    else:
        (folder / "callee.py").rename(folder / "called.py")

    drop_stale(folder.glob("*.py"), folder / "__pycache__")

    assert stored(folder) == [".pyc", ".sha256"]


def test_kernels_that_are_stored_after_a_drop_stay(folder: Path) -> None:
    """The next import loads them."""
    (folder / "callee.py").write_text("x = 2\n")
    drop_stale(folder.glob("*.py"), folder / "__pycache__")
    store(folder)

    drop_stale(folder.glob("*.py"), folder / "__pycache__")

    assert ".nbi" in stored(folder)


def test_a_new_time_stamp_is_no_change(folder: Path) -> None:
    """A fresh checkout or an image layer keeps its kernels."""
    os.utime(folder / "callee.py", (1, 1))

    drop_stale(folder.glob("*.py"), folder / "__pycache__")

    assert ".nbi" in stored(folder)


def test_a_folder_without_a_cache_gets_a_stamp(tmp_path: Path) -> None:
    """The first import of an installation."""
    (tmp_path / "caller.py").write_text("")

    drop_stale(tmp_path.glob("*.py"), tmp_path / "__pycache__")

    assert stored(tmp_path) == [".sha256"]


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    """A file stands where the cache would be: nothing is stored, and nothing raised."""
    (tmp_path / "caller.py").write_text("")
    (tmp_path / "__pycache__").write_text("")

    drop_stale(tmp_path.glob("*.py"), tmp_path / "__pycache__")

    assert (tmp_path / "__pycache__").read_text() == ""


def test_kernels_of_other_files_stay(folder: Path) -> None:
    """They share the cache, but none of the sources."""
    other = folder / "__pycache__" / "other.f-1.py311.nbi"
    other.write_bytes(b"stored")
    (folder / "callee.py").write_text("x = 2\n")

    drop_stale(folder.glob("*.py"), folder / "__pycache__")

    assert other.exists()
