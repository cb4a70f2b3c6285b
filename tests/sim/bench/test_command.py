"""`farsight bench` from its arguments."""

from pathlib import Path

import pytest

from farsight.cli.app import run
from sim.policy import policy_names
from sim.workload import workload_names


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow one breaks what is looked for into lines."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["-w", "nosuch"], workload_names()),
        (["-w", "chat", "-p", "nosuch"], policy_names()),
        (["-w", "chat", "--set", "nosuch=1"], ("delta_loss", "hardware", "faults")),
        (["-w", "chat", "--set", "hardware=nosuch"], ("h100-1", "qwen3-32b-2xh100")),
        ([], workload_names()),
    ],
)
def test_unknown_names_stop_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    listed: tuple[str, ...],
) -> None:
    """Exit code 2 and one line with all that there is."""
    out = tmp_path / "out"

    exit_code = run(["bench", *arguments, "--out", str(out)])

    shown, err = capsys.readouterr()
    assert (exit_code, shown) == (2, "")
    assert err.startswith("farsight: ")
    assert err.count("\n") == 1
    assert all(name in err for name in listed)
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"timestamp": 0, "tokens": 3}', "line 2"),
        ("{", "line 2"),
    ],
)
def test_a_trace_that_does_not_parse(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, message: str
) -> None:
    """The line is named by its number."""
    trace = tmp_path / "trace.jsonl"
    good = '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]}'
    trace.write_text(f"{good}\n{line}\n")

    exit_code = run(["bench", "-w", "mooncake", "--trace", str(trace), "--out", str(tmp_path)])

    assert exit_code == 2
    assert message in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every workload with its fleet and ladder, every policy with what it is."""
    exit_code = run(["bench", "--list"])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert all(name in shown for name in (*workload_names(), *policy_names()))
    assert "qwen3-32b-2xh100" in shown
    assert "50 100 150" in shown
    assert "uniform over the endpoints" in shown


def test_commands_of_the_simulator_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """They stand in the help page like the others."""
    exit_code = run(["--help"])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert "Simulate workloads under routing policies" in shown
    assert " emulate " in shown
    assert "Broken" not in shown


@pytest.mark.timeout(180)
def test_a_cell_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Options reach the cell; the table and the path of the report come last."""
    options = ["-w", "chat", "-p", "random", "--no-oracle", "--rate", "4", "--pods", "2"]
    options += ["--duration", "3", "--seeds", "1", "--set", "delta_loss=0.1"]

    exit_code = run(["bench", *options, "--out", str(tmp_path)])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert "chat, 2 pods, delta_loss=0.1, duration_s=3.0" in shown
    assert shown.splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"
