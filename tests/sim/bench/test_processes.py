"""An interrupted benchmark: what stays on the disk, and what stays running."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

# The first cell takes a moment, the second one minutes.
ARGUMENTS = [
    *("bench", "--workload", "chat", "--policy", "random", "--no-oracle", "--rate", "2,400"),
    *("--pods", "2", "--duration", "300", "--seeds", "1"),
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_end_in_the_middle(tmp_path: Path, sent: signal.Signals, exit_code: int) -> None:
    """Finished cells stay, processes do not."""
    command = [sys.executable, "-u", "-m", "farsight.cli", *ARGUMENTS, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        assert bench.stdout.readline().startswith("1/2 chat random 2/s")
        children = psutil.Process(bench.pid).children(recursive=True)

        bench.send_signal(sent)

        rest = bench.stdout.read()
        _, alive = psutil.wait_procs(children, timeout=30)
    assert bench.returncode == exit_code
    assert children
    assert alive == []
    assert len(list(tmp_path.glob("*.cell.json"))) == 1
    assert ("1 of 2 cells are kept" in rest) == (sent is signal.SIGINT)
