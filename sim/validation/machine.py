"""What the cores of this machine do beside the measurement."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sim.validation.records import Machine

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/stat: user nice system idle iowait irq softirq steal.
_IDLE = slice(3, 5)
_STEAL = 7
# Fields of /proc/PID/stat behind the command's name.
_SESSION = 3
_CPU = slice(11, 13)


@dataclass(frozen=True, slots=True)
class _Reading:
    clock_s: float
    busy_s: float
    steal_s: float
    own_s: float


class MachineWatch:
    """From its creation to `stop`, over all cores.

    :param session: the pod's first process, which leads a session; this process is our own, too.
    """

    def __init__(self, session: int) -> None:
        self._session = session
        self._started = self._read()

    def stop(self) -> Machine:
        """The shares since the start."""
        before, after = self._started, self._read()
        seconds = after.clock_s - before.clock_s
        cores = os.cpu_count() or 1
        whole_s = max(seconds * cores, 1 / _TICKS_PER_S)
        foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
        return Machine(
            seconds=seconds,
            cores=cores,
            steal_share=(after.steal_s - before.steal_s) / whole_s,
            foreign_share=max(0.0, foreign_s) / whole_s,
        )

    def _read(self) -> _Reading:
        ticks = [int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
        busy = sum(ticks[:_STEAL]) - sum(ticks[_IDLE])
        return _Reading(
            time.perf_counter(),
            busy / _TICKS_PER_S,
            ticks[_STEAL] / _TICKS_PER_S,
            sum(os.times()[:2]) + self._session_cpu_s(),
        )

    def _session_cpu_s(self) -> float:
        ticks = 0
        for entry in _PROC.iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[_SESSION]) == self._session:
                ticks += sum(int(field) for field in fields[_CPU])
        return ticks / _TICKS_PER_S
