"""How far each endpoint can be trusted now: one rule, over columns, for a match over a thousand."""

from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit

from farsight.index.match import Confidence, Counts

if TYPE_CHECKING:
    from farsight.index.source import Source

MAX_AGE_MS = 2**32 - 1
# A delta overtaken by the heartbeat that announces it is no gap yet.
IN_FLIGHT_GRACE_S = 0.3
# Heartbeats come a few times a second; without them nothing proves that the tail was not lost.
HEARTBEAT_LIMIT_S = 3.0
NO_HEARTBEAT = "no heartbeat"


class Flaw(IntEnum):
    """Why an endpoint is not EXACT, by the index's own judgement."""

    NONE = 0
    WAITING = 1
    CLEARING = 2
    BUDGET = 3
    SILENT = 4
    GAP = 5
    BEHIND = 6

    @property
    def reason(self) -> str:
        """In words, for status pages."""
        return _REASONS[self]


_REASONS = {
    Flaw.NONE: "",
    Flaw.WAITING: "waiting for a snapshot",
    Flaw.CLEARING: "clearing a tier",
    Flaw.BUDGET: "index-budget",
    Flaw.SILENT: NO_HEARTBEAT,
    Flaw.GAP: "gap",
    Flaw.BEHIND: "index busy",
}
_DEGRADED = int(Confidence.DEGRADED)
_NONE, _SILENT = int(Flaw.NONE), int(Flaw.SILENT)


@dataclass(frozen=True, slots=True)
class Standing:
    """Columns over some endpoints."""

    slots: npt.NDArray[np.int64]
    age_ms: Counts
    confidence: npt.NDArray[np.uint8]
    flaws: npt.NDArray[np.uint8]


def is_overdue(late_since_s: float, now_s: float) -> bool:
    """What has been missing since then is no longer on its way; also of columns, in the kernel."""
    return now_s - late_since_s > IN_FLIGHT_GRACE_S


_overdue = njit(inline="always")(is_overdue)


@njit(cache=True, nogil=True)
def _judge(  # type: ignore[no-untyped-def] # a Numba kernel
    rows, slot, heard_s, confirmed_s, late_since_s, late_flaw, flaw, opinion, now_s
):
    slots = np.empty(rows.size, np.int64)
    age_ms = np.empty(rows.size, np.uint32)
    confidence = np.empty(rows.size, np.uint8)
    flaws = np.empty(rows.size, np.uint8)
    for i in range(rows.size):
        row = rows[i]
        why = flaw[row]
        if why == _NONE:
            if now_s - heard_s[row] > HEARTBEAT_LIMIT_S:
                why = np.uint8(_SILENT)
            elif _overdue(late_since_s[row], now_s):
                why = late_flaw[row]
        slots[i] = slot[row]
        flaws[i] = why
        confidence[i] = opinion[row] if why == _NONE else _DEGRADED
        age = (now_s - confirmed_s[row]) * 1000
        age_ms[i] = np.uint32(age) if age < MAX_AGE_MS else np.uint32(MAX_AGE_MS)
    return slots, age_ms, confidence, flaws


_COLUMNS = "qdddBBB"  # types of the columns in the order of `_judge`


class Standings:
    """A row per source, written whenever the source changes."""

    def __init__(self) -> None:
        self._size = 0
        self._free: list[int] = []
        self._columns: tuple[array[Any], ...] = tuple(array(kind) for kind in _COLUMNS)
        self._grow(16)

    def _grow(self, size: int) -> None:
        # New arrays: one that numpy looks at cannot grow.
        more = bytes(8 * (size - self._size))
        self._columns = tuple(
            column + array(column.typecode, more[: column.itemsize * (size - self._size)])
            for column in self._columns
        )
        self._views: tuple[npt.NDArray[Any], ...] = tuple(
            np.frombuffer(column, column.typecode) for column in self._columns
        )
        self._free.extend(range(size - 1, self._size - 1, -1))
        self._size = size

    def take_row(self) -> int:
        """A row for a new source."""
        if not self._free:
            self._grow(2 * self._size)
        return self._free.pop()

    def give_back(self, row: int) -> None:
        """The source is forgotten."""
        self._free.append(row)

    def note(self, source: "Source") -> None:
        """Write down what is true of a source."""
        row = source.row
        slot, heard_s, confirmed_s, late_since_s, late_flaw, flaw, opinion = self._columns
        slot[row] = source.slot
        heard_s[row] = source.heard_s
        confirmed_s[row] = source.confirmed_s
        late_since_s[row] = source.late_since_s
        late_flaw[row] = Flaw.BEHIND if source.has_next else Flaw.GAP
        flaw[row] = source.flaw
        opinion[row] = source.sidecar_confidence

    def note_progress(self, source: "Source") -> None:
        """Write down how far a source is, for which nothing waits; the rest is as it was."""
        self._columns[2][source.row] = source.confirmed_s
        self._columns[3][source.row] = source.behind_since_s

    def of(self, rows: npt.NDArray[np.int64], now_s: float) -> Standing:
        """The standing of the sources of some rows."""
        return Standing(*_judge(rows, *self._views, now_s))


def warm() -> None:
    """Compile or load the kernel."""
    Standings().of(np.zeros(1, np.int64), 0.0)
