"""Load per source and endpoint as columns: sums over sources in a few numpy operations."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.router.candidates import Floats

MAX_SLOTS = 1 << 14
_MAX_REMEMBERED_ROWS = 256

_Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Load:
    """Load of one request, or of many on one endpoint."""

    requests: int
    prefill_tokens: int
    """Uncached prompt tokens whose first token has not come."""
    context_tokens: int
    """Prompt and expected output."""
    decoding: int
    """Requests past their first token."""

    def column(self) -> tuple[int, int, int, int]:
        """In the order of the table's rows."""
        return self.requests, self.prefill_tokens, self.context_tokens, self.decoding


NOTHING = Load(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class InFlight:
    """Load columns over endpoints."""

    requests: Floats
    prefill_tokens: Floats
    context_tokens: Floats
    decoding: Floats


class LoadTable:
    """A matrix per source (a router replica), a column per endpoint."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._capacity = 0
        self._sources: dict[str, _Matrix] = {}
        self._rows: dict[tuple[str, ...], npt.NDArray[np.intp]] = {}

    def _slot(self, endpoint_id: str) -> int | None:
        slot = self._slots.get(endpoint_id)
        if slot is None and len(self._slots) < MAX_SLOTS:
            if not self._free:
                self._grow()
            slot = self._slots[endpoint_id] = self._free.pop()
            self._rows.clear()
        return slot

    def _grow(self) -> None:
        added = max(self._capacity, 16)
        self._free = list(range(self._capacity + added - 1, self._capacity - 1, -1))
        self._capacity += added
        for source, matrix in self._sources.items():
            self._sources[source] = np.pad(matrix, ((0, 0), (0, added)))

    def _matrix(self, source: str) -> _Matrix:
        if source not in self._sources:
            self._sources[source] = np.zeros((4, self._capacity + 1), np.int64)
        return self._sources[source]

    def add(self, source: str, endpoint_id: str, load: Load, sign: int = 1) -> None:
        """Add (or with sign -1 take away) load."""
        slot = self._slot(endpoint_id)
        if slot is not None:
            self._matrix(source)[:, slot] += np.multiply(load.column(), sign)

    def put(self, source: str, endpoint_id: str, load: Load) -> None:
        """Replace the load; beyond MAX_SLOTS endpoints it is left out."""
        slot = self._slot(endpoint_id)
        if slot is not None:
            self._matrix(source)[:, slot] = load.column()

    def get(self, source: str, endpoint_id: str) -> Load:
        """Load of one source on one endpoint."""
        slot, matrix = self._slots.get(endpoint_id), self._sources.get(source)
        return NOTHING if slot is None or matrix is None else Load(*matrix[:, slot].tolist())

    def drop(self, source: str) -> None:
        """Forget a source."""
        self._sources.pop(source, None)

    def loaded(self, source: str) -> list[str]:
        """Endpoints on which a source has load."""
        matrix = self._sources.get(source)
        if matrix is None:
            return []
        busy = set(np.flatnonzero(matrix.any(axis=0)).tolist())
        return [endpoint_id for endpoint_id, slot in self._slots.items() if slot in busy]

    def total(self, sources: Iterable[str], endpoint_ids: Sequence[str]) -> InFlight:
        """Load of some sources together, in the order of the endpoints."""
        rows = self._rows_of(tuple(endpoint_ids))
        total = np.zeros((4, len(endpoint_ids)))
        for source in sources:
            if (matrix := self._sources.get(source)) is not None:
                # A row of -1 takes the spare last column, which is always empty.
                total += matrix.take(rows, axis=1)
        return InFlight(*total)

    def _rows_of(self, endpoint_ids: tuple[str, ...]) -> npt.NDArray[np.intp]:
        rows = self._rows.get(endpoint_ids)
        if rows is None:
            if len(self._rows) >= _MAX_REMEMBERED_ROWS:
                self._rows.clear()
            rows = np.array([self._slots.get(e, -1) for e in endpoint_ids], np.intp)
            self._rows[endpoint_ids] = rows
        return rows

    def prune(self, keep: Collection[str]) -> None:
        """Give up the columns of other endpoints once nobody has load on them."""
        for endpoint_id in [e for e in self._slots if e not in keep]:
            slot = self._slots[endpoint_id]
            if not any(matrix[:, slot].any() for matrix in self._sources.values()):
                self._free.append(self._slots.pop(endpoint_id))
                self._rows.clear()
