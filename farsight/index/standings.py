"""How far each endpoint can be trusted now, as columns: a match over a thousand asks at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.index.match import Confidence, Counts
from farsight.index.source import HEARTBEAT_LIMIT_S, IN_FLIGHT_GRACE_S, Source

MAX_AGE_MS = 2**32 - 1
_ROW = np.dtype(
    [
        ("slot", "i8"),
        ("heard_s", "f8"),
        ("confirmed_s", "f8"),  # -inf: never
        ("late_since_s", "f8"),  # inf: nothing is missing, -inf: a delta waits for a gap to close
        ("opinion", "u1"),  # of the sidecar; DEGRADED until there is a base
    ]
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Columns over some endpoints."""

    slots: npt.NDArray[np.int64]
    age_ms: Counts
    confidence: npt.NDArray[np.uint8]


class Standings:
    """A row per source, written whenever the source changes."""

    def __init__(self) -> None:
        self._rows = np.zeros(16, _ROW)
        self._free: list[int] = list(range(15, -1, -1))

    def take_row(self) -> int:
        """A row for a new source."""
        if not self._free:
            used = self._rows.size
            self._rows = np.concatenate([self._rows, np.zeros(used, _ROW)])
            self._free = list(range(2 * used - 1, used - 1, -1))
        return self._free.pop()

    def give_back(self, row: int) -> None:
        """The source is forgotten."""
        self._free.append(row)

    def note(self, source: Source) -> None:
        """Write down what is true of a source."""
        late_s = source.behind_since_s
        self._rows[source.row] = (
            source.slot,
            source.heard_s,
            -np.inf if source.confirmed_s is None else source.confirmed_s,
            -np.inf if source.pending else (np.inf if late_s is None else late_s),
            source.sidecar_confidence if source.is_based else Confidence.DEGRADED,
        )

    def of(self, rows: npt.NDArray[np.intp], now_s: float) -> Standing:
        """The standing of the sources of some rows; `Source.state` says the same of one."""
        seen = self._rows[rows]
        silent = now_s - seen["heard_s"] > HEARTBEAT_LIMIT_S
        late = now_s - seen["late_since_s"] > IN_FLIGHT_GRACE_S
        confidence = np.where(silent | late, np.uint8(Confidence.DEGRADED), seen["opinion"])
        age_ms = np.minimum((now_s - seen["confirmed_s"]) * 1000, MAX_AGE_MS)
        return Standing(seen["slot"], age_ms.astype(np.uint32), confidence)
