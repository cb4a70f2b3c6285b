"""Endpoints come, begin new lives, change their storage, and go; their slots follow."""

from farsight.index.parts import IndexParts
from farsight.index.source import Source
from farsight.index.tables import STORAGE
from farsight.index.wire import Beat


class Lives:
    """Decides which slot an endpoint has, and what becomes of the one it had."""

    def __init__(self, parts: IndexParts) -> None:
        self._parts = parts
        self._sources = parts.sources

    def at(self, endpoint_id: str, epoch: int) -> Source | None:
        """The endpoint's source at this epoch; None when the message is of an earlier life.

        :raises InvalidField: there can be no such endpoint, or no further one.
        """
        source = self._sources.find(endpoint_id)
        if source is None:
            self._sources.check_new(endpoint_id)
            source = self._sources.add(endpoint_id, self._parts.slots.take(), self._parts.clock())
        if epoch == source.epoch:
            return source
        if epoch < source.epoch:
            return None
        self._bequeath(source)
        source.begin(epoch, self._parts.slots.take())
        self._parts.note(source)
        return source

    def start(self, source: Source) -> None:
        """A life was met at its very beginning: its cache is empty, short of what deltas say."""
        if self._parts.tables.held(source.slot):  # of a snapshot that is half loaded
            self.move(source, self._parts.slots.take())
        source.start()
        self._parts.note(source)

    def move(self, source: Source, slot: int) -> None:
        """Another slot holds what the endpoint holds; nothing of the old one is kept."""
        self._parts.slots.release(source.slot)
        source.slot = slot
        self._parts.note(source)
        if source.storage_pool:
            self._parts.pools.touch()

    def end(self, source: Source) -> None:
        """The endpoint is known no more; what it left on shared storage is the pool's."""
        self._bequeath(source)
        self._parts.pools.leave(source)
        source.lose_base()  # nothing that is under way for it goes on
        self._sources.remove(source)

    def settle(self, source: Source, beat: Beat) -> None:
        """Take from a heartbeat how the engine keeps its cache."""
        self._sources.set_layout(source, beat.layout)
        if beat.storage_pool == source.storage_pool:
            return
        if source.storage_pool:
            # What was announced lies on the other storage; a snapshot tells what is on this one.
            self._bequeath(source)
            source.slot = self._parts.slots.take()
            source.lose_base()
            self._parts.pools.leave(source)
        source.storage_pool = beat.storage_pool
        self._parts.pools.join(source)

    def _bequeath(self, source: Source) -> None:
        """Give up the slot: to the pool when there are blocks of its storage in it."""
        parts = self._parts
        if source.storage_pool and parts.tables.held_on(STORAGE, source.slot):
            parts.pools.inherit(source, source.slot)
            parts.work.called.set()
        else:
            parts.slots.release(source.slot)
            if source.storage_pool:
                parts.pools.touch()
