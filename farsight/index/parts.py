"""What the parts of an index share: tables, slots, endpoints, and the work that is to be done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, ParamSpec, TypeVar

from farsight.index.budget import Budget
from farsight.index.pools import StoragePools
from farsight.index.slots import Slots
from farsight.index.source import Source
from farsight.index.sources import Sources
from farsight.index.tables import Tables
from farsight.index.wire import Tier
from farsight.table import BlockTable

# Keys worked on between two turns of the event loop: well under a millisecond.
SLICE_KEYS = 4096
# Where nothing may block, a table of up to so many slots is still rebuilt or cleared at once.
SMALL_TABLE_SLOTS = 1 << 15
_RETRY_S = 0.002

Args = ParamSpec("Args")
Result = TypeVar("Result")


class Pace:
    """How long work is done: at once, or without holding up an event loop."""

    def __init__(self) -> None:
        self.is_inline = True

    async def run(
        self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Do what may take long; in a thread when there is a loop to hold up."""
        if self.is_inline:
            return work(*args, **kwargs)
        return await asyncio.to_thread(work, *args, **kwargs)

    async def retry(self) -> None:
        """Wait a moment for what others are doing."""
        await asyncio.sleep(0 if self.is_inline else _RETRY_S)


class Gate:
    """Closed while a thread reads the tables: nobody writes to them."""

    def __init__(self, reopened: Callable[[], None]) -> None:
        self._lock = asyncio.Lock()
        self._reopened = reopened
        self.is_closed = False

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Keep it closed; one holder after the other."""
        async with self._lock:
            self.is_closed = True
            try:
                yield
            finally:
                self.is_closed = False
                self._reopened()


class Need(NamedTuple):
    """Room in a table that somebody waits for."""

    slot: int
    added: int
    source: Source | None


class Clear(NamedTuple):
    """A tier that is to be emptied for an endpoint, whose deltas wait."""

    source: Source
    slot: int
    tier: Tier


@dataclass(slots=True)
class Work:
    """What waits to be done, and who is told when there is more."""

    called: asyncio.Event = field(default_factory=asyncio.Event)
    rooms: dict[BlockTable, Need] = field(default_factory=dict)
    clears: list[Clear] = field(default_factory=list)

    def need_room(self, table: BlockTable, need: Need) -> None:
        """A table is to take more."""
        known = self.rooms.get(table, need)
        larger = need if need.added >= known.added else known
        self.rooms[table] = larger._replace(slot=max(known.slot, need.slot))
        self.called.set()

    def need_clear(self, clear: Clear) -> None:
        """A tier is to be emptied."""
        self.clears.append(clear)
        self.called.set()


class IndexParts:
    """The state of one index."""

    def __init__(
        self,
        clock: Callable[[], float],
        wants_snapshot: Callable[[str], None],
        budget_bytes: int,
    ) -> None:
        self.clock = clock
        self.wants_snapshot = wants_snapshot
        self.tables = Tables()
        self.budget = Budget(self.tables, budget_bytes)
        self.slots = Slots(self.tables)
        self.sources = Sources()
        self.pools = StoragePools(self.slots)
        self.work = Work()
        self.gate = Gate(self.work.called.set)
        self.pace = Pace()

    async def turn(self) -> None:
        """Before each slice of writing: let others run, and whoever reads in a thread finish."""
        if not self.pace.is_inline:
            await asyncio.sleep(0)
        while self.gate.is_closed:
            await self.pace.retry()

    def note(self, source: Source) -> None:
        """An endpoint's state has changed."""
        self.sources.standings.note(source)
