"""The shape of the code: who imports whom, how long files and functions are, what plugins are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.router.plugins import REGISTRY, load_all

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
SOURCES = sorted(
    path
    for top in ("farsight", "services", "sim", "bench", "tests")
    for path in (ROOT / top).rglob("*.py")
    if "farsight/pb/" not in path.as_posix() or path.name == "__init__.py"
)
SERVICES = sorted(
    path.name for path in (ROOT / "services").iterdir() if (path / "__main__.py").is_file()
)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "misc", "core", "common"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """The path below the root."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(), name_of(path))


def imports_of(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions_of(path: Path) -> Iterator[Function]:
    """Every function, nested ones too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    assert function.end_lineno is not None
    total = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        total -= first.end_lineno - first.lineno + 1
    return total


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_the_library_and_itself(service: str) -> None:
    """Services talk over the wire, so that each can be replaced alone."""
    foreign = [
        f"{name_of(path)}: {name}"
        for path in (ROOT / "services" / service).rglob("*.py")
        for name in imports_of(path)
        if name.split(".")[0] in ("services", "sim", "bench", "tests")
        and not name.startswith(f"services.{service}.")
    ]

    assert foreign == []


def test_the_library_imports_no_service() -> None:
    """Nor the simulator, nor tests."""
    foreign = [
        f"{name_of(path)}: {name}"
        for path in (ROOT / "farsight").rglob("*.py")
        for name in imports_of(path)
        if name.split(".")[0] in ("services", "sim", "bench", "tests")
    ]

    assert foreign == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_files(service: str) -> None:
    """Who knows one service finds the way in all of them."""
    files = {path.name for path in (ROOT / "services" / service).iterdir()}

    assert {"__init__.py", "__main__.py", "settings.py", "service.py", "metrics.py"} <= files


def test_no_file_is_too_long() -> None:
    """A file does one thing."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}

    assert {name: n for name, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    """A function can be seen at once; its docstring does not count."""
    lengths = {
        f"{name_of(path)}:{function.lineno} {function.name}": lines_of(function)
        for path in SOURCES
        for function in functions_of(path)
    }

    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_files_are_named_for_what_they_do() -> None:
    """No place where anything may be put."""
    names = {part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts}

    assert names & FORBIDDEN_NAMES == set()


def test_every_module_and_public_name_is_documented() -> None:
    """Module, class and function each say what they are for."""
    silent = [name for path in SOURCES for name in undocumented(path)]

    assert silent == []


def undocumented(path: Path) -> Iterator[str]:
    """Public names of a file without a docstring."""
    tree = tree_of(path)
    if tree.body and ast.get_docstring(tree) is None:
        yield name_of(path)
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and public(n.name)]
    holders: list[ast.Module | ast.ClassDef] = [tree, *classes]
    for holder in holders:
        for node in holder.body:
            if not isinstance(node, ast.ClassDef | Function) or not public(node.name):
                continue
            if ast.get_docstring(node) is None:
                yield f"{name_of(path)}:{node.lineno} {node.name}"


def public(name: str) -> bool:
    """Not private, and not a name that Python gives a meaning."""
    return not name.startswith("_")


@pytest.mark.parametrize("kind", ["filters", "scorers", "pickers"])
def test_a_plugin_is_one_file_with_one_class_under_its_name(kind: str) -> None:
    """File stem with dashes = registered name = name in profiles and metrics."""
    load_all()
    registered = {
        name: plugin.__module__.rpartition(".")[2]
        for name, plugin in getattr(REGISTRY, kind).items()
    }

    folder = ROOT / "services" / "router" / kind
    stems = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}

    assert registered == {stem.replace("_", "-"): stem for stem in stems}
    for stem in stems:
        assert len(list(classes_of(folder / f"{stem}.py"))) == 1


def classes_of(path: Path) -> Iterator[str]:
    """Public classes of a file."""
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and public(node.name):
            yield node.name
