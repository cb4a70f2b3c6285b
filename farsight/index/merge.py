"""Answers of several index replicas about the same endpoints become one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from farsight.index.match import Confidence, Counts, Matches

Rows = npt.NDArray[np.intp]

_NONE, _DOUBTFUL, _EXACT = 0, 1, 2


class Merge:
    """The best answer for each endpoint: EXACT before others, then the youngest."""

    def __init__(self, endpoint_ids: tuple[str, ...]) -> None:
        count = len(endpoint_ids)
        self._ids = endpoint_ids
        self._columns: Counts = np.zeros((4, count), np.uint32)
        self._confidence = np.zeros(count, np.uint8)
        self._standing = np.full(count, _NONE, np.uint8)

    def take(self, rows: Rows, asked: Sequence[str], found: Matches) -> Rows:
        """Take an answer about the endpoints `asked`, which stand at `rows`; where it is the best.

        Endpoints that were not asked for are ignored.
        """
        if found.endpoint_ids != tuple(asked):
            row_of = dict(zip(asked, rows.tolist(), strict=True))
            at = [i for i, name in enumerate(found.endpoint_ids) if name in row_of]
            rows = np.array([row_of[found.endpoint_ids[i]] for i in at], np.intp)
        else:
            at = list(range(rows.size))
        standing = np.where(found.confidence[at] == Confidence.EXACT, _EXACT, _DOUBTFUL)
        ages = found.age_ms[at]
        before = self._standing[rows]
        better = (standing > before) | ((standing == before) & (ages < self._columns[3, rows]))
        rows, chosen = rows[better], np.array(at, np.intp)[better]
        tiers = (found.device_blocks, found.host_blocks, found.storage_blocks, found.age_ms)
        for column, values in zip(self._columns, tiers, strict=True):
            column[rows] = values[chosen]
        self._confidence[rows] = found.confidence[chosen]
        self._standing[rows] = standing[better]
        return rows

    @property
    def exact(self) -> npt.NDArray[np.bool_]:
        """Which endpoints somebody is sure of."""
        sure: npt.NDArray[np.bool_] = self._standing == _EXACT
        return sure

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which endpoints somebody knows."""
        known: npt.NDArray[np.bool_] = self._standing != _NONE
        return known

    def close(self) -> Matches:
        """The columns, in the order of the endpoints, without those that nobody knows."""
        rows = np.flatnonzero(self.answered)
        ids = self._ids
        if rows.size < len(ids):
            ids = tuple(ids[row] for row in rows.tolist())
        device, host, storage, age_ms = self._columns[:, rows]
        return Matches(ids, device, host, storage, age_ms, self._confidence[rows])
