"""Commands of other packages."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from farsight.cli.app import run

Announce = Callable[[str, str], None]

GREET = '''
def greet(name: str) -> None:
    """Say hello."""
    print("hello", name)
'''


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Announce:
    """Installs a package `NAME` with one command of that name, whose module has the given code."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str) -> None:
        (tmp_path / f"{name}_module.py").write_text(code)
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        entry = f"{name} = {name}_module:{name}"
        (facts / "entry_points.txt").write_text(f"[farsight.commands]\n{entry}\n")

    return install


def test_an_installed_command_runs(announce: Announce, capsys: pytest.CaptureFixture[str]) -> None:
    """With its own arguments."""
    announce("greet", GREET)

    exit_code = run(["greet", "you"])

    assert (exit_code, capsys.readouterr().out) == (0, "hello you\n")


def test_an_installed_command_is_listed(
    announce: Announce, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its first sentence."""
    announce("greet", GREET)

    exit_code = run(["--help"])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert "greet" in shown
    assert "Say hello." in shown


def test_a_broken_command_says_why(announce: Announce, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, whatever its arguments."""
    announce("shatter", "import no_such_module_anywhere")

    exit_code = run(["shatter", "--loud", "now"])

    out, err = capsys.readouterr()
    assert (exit_code, out) == (1, "")
    assert err == (
        "farsight: shatter cannot be loaded from shatter_module:shatter: "
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'\n"
    )


def test_a_broken_command_leaves_the_others(
    announce: Announce, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help page says that it is broken."""
    announce("shatter", "1 / 0")

    exit_code = run(["--help"])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert "Broken: shatter cannot be loaded" in shown
    assert "status" in shown


def test_own_commands_import_nothing_of_others() -> None:
    """A fleet is looked into without waiting for a simulator to load."""
    probe = (
        "import sys; from farsight.cli.app import run; code = run(['status', '--help']);"
        "sys.exit(code or any(n.split('.')[0] in ('sim', 'matplotlib') for n in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False)

    assert done.returncode == 0
