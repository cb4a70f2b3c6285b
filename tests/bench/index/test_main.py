"""`python -m bench.index`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(120)
def test_one_part_is_measured_written_and_shown(tmp_path: Path) -> None:
    """At tiny size where that is asked for."""
    path = tmp_path / "index.json"
    asked = ("--quick", "--only", "clear", "--out", str(path))

    done = subprocess.run(
        (sys.executable, "-m", "bench.index", *asked), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert written["clear_ms"] > 0
    assert set(written["parts"]) == {"clear"}
    assert "clear of an endpoint, 5 M blocks" in done.stdout
    assert str(path) in done.stdout.replace("\n", "")


def test_an_unknown_part_is_refused() -> None:
    """With the names of those that there are."""
    done = subprocess.run(
        (sys.executable, "-m", "bench.index", "--only", "speed"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "match450" in done.stderr
