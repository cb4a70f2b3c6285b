"""The endpoints of an index: by id, as rows of columns, and in the rosters that matches ask for."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from farsight.discovery import ENDPOINT_ID
from farsight.errors import InvalidField
from farsight.index.pending import Pending, Total, bound
from farsight.index.source import Source
from farsight.index.standings import Standings
from farsight.index.wire import PLAIN, Change, Layout

MAX_ENDPOINTS = 4096
MAX_ROSTERS = 64
Roster: TypeAlias = tuple[tuple[str, ...], npt.NDArray[np.int64]]


class Sources:
    """Every endpoint that the index knows."""

    def __init__(self) -> None:
        self._by_id: dict[str, Source] = {}
        self.standings = Standings()
        self._pending_total = Total()
        self._rosters: dict[tuple[str, ...], Roster] = {}
        self.hybrids: dict[Layout, list[Source]] = {}
        """Endpoints whose engines keep their cache in several groups, by layout."""

    def __iter__(self) -> Iterator[Source]:
        return iter(self._by_id.values())

    def __contains__(self, source: Source) -> bool:
        return self._by_id.get(source.endpoint_id) is source

    def find(self, endpoint_id: str) -> Source | None:
        """The endpoint's source; None when it is unknown."""
        return self._by_id.get(endpoint_id)

    def named(self, endpoint_id: str) -> Source:
        """The endpoint's source.

        :raises InvalidField: the endpoint is unknown.
        """
        source = self._by_id.get(endpoint_id)
        if source is None:
            raise InvalidField("endpoint_id", f"one of {sorted(self._by_id)}")
        return source

    def check_new(self, endpoint_id: str) -> None:
        """Raise InvalidField when there can be no such endpoint, or no further one."""
        if not ENDPOINT_ID.fullmatch(endpoint_id):
            raise InvalidField("endpoint_id", ENDPOINT_ID.pattern)
        if len(self._by_id) >= MAX_ENDPOINTS:
            raise InvalidField("endpoint_id", f"at most {MAX_ENDPOINTS} endpoints")

    def add(self, endpoint_id: str, slot: int, now_s: float) -> Source:
        """A new endpoint."""
        row = self.standings.take_row()
        source = Source(endpoint_id, slot, now_s, row, Pending(self._pending_total))
        self._by_id[endpoint_id] = source
        self._rosters.clear()
        self.standings.note(source)
        return source

    def remove(self, source: Source) -> None:
        """Forget an endpoint."""
        del self._by_id[source.endpoint_id]
        source.pending.clear()
        self.set_layout(source, PLAIN)
        self.standings.give_back(source.row)
        self._rosters.clear()

    def set_layout(self, source: Source, layout: Layout) -> None:
        """How the endpoint's engine keeps its cache."""
        if layout == source.layout:
            return
        if source.layout != PLAIN:
            peers = self.hybrids[source.layout]
            peers.remove(source)
            if not peers:
                del self.hybrids[source.layout]
        source.layout = layout
        if layout != PLAIN:
            self.hybrids.setdefault(layout, []).append(source)

    def hold(self, source: Source, seq: int, changes: Sequence[Change]) -> None:
        """Keep a delta for later, within the bounds of the endpoint and of all."""
        source.pending.put(seq, changes)
        bound(self._pending_total, (other.pending for other in self))

    def roster(self, endpoint_ids: Sequence[str]) -> Roster:
        """Those of the endpoints that there are, and their rows; no ids: all endpoints.

        The same rosters come again, so they are remembered until an endpoint comes or goes.
        """
        wanted = tuple(endpoint_ids)
        found = self._rosters.get(wanted)
        if found is None:
            if len(self._rosters) >= MAX_ROSTERS:
                self._rosters.clear()
            asked = wanted or tuple(self._by_id)
            # The asker's own tuple where it can be, so that it sees at once what it is.
            is_whole = all(e in self._by_id for e in asked)
            known = asked if is_whole else tuple(e for e in asked if e in self._by_id)
            rows = np.array([self._by_id[e].row for e in known], np.int64)
            found = self._rosters[wanted] = known, rows
        return found
