"""Every target for some seconds, in a process of its own, which a defect may end."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.fuzz import registry

SECONDS = {"decoder": 6, "mirror": 8, "saved": 5, "deltas": 9, "frames": 2}
LIMIT_S = 110


@pytest.mark.timeout(LIMIT_S + 10)
@pytest.mark.parametrize("name", registry.TARGETS)
async def test_nothing_breaks_it(name: str, tmp_path: Path) -> None:
    """No error but those that are declared, no hang, no growing memory."""
    fuzzing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fuzz", name),
        *("--seconds", str(SECONDS[name]), "--folder", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(fuzzing.communicate(), LIMIT_S)
    finally:
        if fuzzing.returncode is None:
            fuzzing.kill()

    assert fuzzing.returncode == 0, f"{said.decode()[-4000:]}{_running(tmp_path / name)}"


def _running(folder: Path) -> str:
    """The input that was running, to be looked into."""
    path = folder / "last-input"
    return f"\nlast input: {path.read_bytes().hex()}" if path.exists() else ""
