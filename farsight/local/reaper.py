"""Kills what a supervisor started when the supervisor itself is killed.

Runs as a process of its own (`Reaper` starts it), reads `+GROUP` and `-GROUP` lines from its
parent, and at the end of that stream, however it came, sends SIGKILL to the groups that are left.
It imports the standard library only, so it costs a few MB and 20 ms.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


def kill_group(group: int) -> None:
    """SIGKILL every process of a group; nothing when there is none."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def watch(lines: Iterable[str]) -> None:
    """Follow the lines to their end, then kill the groups that were not taken back."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        kill_group(group)


class Reaper:
    """The parent's end: names the process groups that must not outlive it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """Kill this group when the parent dies."""
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group has ended."""
        self._send(f"-{group}\n")

    def close(self) -> None:
        """Kill the groups that are left and end."""
        self._process.communicate()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        # Without its reaper a supervisor still stops everything, unless it is killed too.
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


if __name__ == "__main__":
    watch(sys.stdin)
