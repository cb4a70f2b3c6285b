"""Farsight's table and index as holders."""

import time
from typing import Any

from bench.index.workload import Delta
from farsight import positions, table
from farsight.index import state
from farsight.index.match import Matches
from farsight.index.state import KvIndex
from farsight.keys import Keys, pack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, Load
from farsight.table import BlockTable

EXACT = types_pb2.CONFIDENCE_EXACT


class TableHolder:
    """`BlockTable` by itself."""

    def __init__(self, endpoints: int, capacity: int = table.MIN_CAPACITY) -> None:
        table.warm()
        self.table = BlockTable((endpoints + 63) // 64, capacity)
        self._endpoints = endpoints
        self.add = self.table.add

    def prepared(self, delta: Delta) -> tuple[Any, ...]:
        """Slot, keys and buckets."""
        spans = (delta.position, delta.keys.size)
        return delta.slot, delta.keys, positions.of_spans(spans, delta.keys.size, "spans")

    def settle(self) -> None:
        """Everything is done at once."""

    def prompt(self, keys: Keys) -> Keys:
        """The keys."""
        return keys

    def match(self, prompt: Keys) -> Any:
        """Lengths by slot."""
        return self.table.prefix_lengths(prompt, self._endpoints)

    def held(self, found: Any, slot: int) -> int:
        """By slot."""
        return int(found[slot])


class IndexHolder:
    """`KvIndex`: what a router that embeds the index asks."""

    def __init__(self, endpoints: int) -> None:
        state.warm()
        self.index = KvIndex(time.monotonic, lambda endpoint_id: None)
        self._seqs = [0] * endpoints
        self.endpoint_ids = tuple(f"e{slot}" for slot in range(endpoints))
        for endpoint_id in self.endpoint_ids:
            self.index.heard(Load(endpoint_id=endpoint_id, epoch=1, kv_confidence=EXACT))

    def prepared(self, delta: Delta) -> tuple[Any, ...]:
        """A message."""
        self._seqs[delta.slot] += 1
        change = KvChange(
            action=KvChange.ACTION_STORE,
            tier=types_pb2.TIER_DEVICE,
            keys=pack(delta.keys),
            spans=(delta.position, delta.keys.size),
        )
        endpoint_id, seq = self.endpoint_ids[delta.slot], self._seqs[delta.slot]
        return (KvDelta(endpoint_id=endpoint_id, epoch=1, seq=seq, changes=[change]),)

    def sent(self) -> list[tuple[str, int]]:
        """Endpoint and last sequence number of the messages made so far."""
        return list(zip(self.endpoint_ids, self._seqs, strict=True))

    def add(self, *prepared: Any) -> object:
        """Apply it."""
        return self.index.apply(prepared[0])

    def settle(self) -> None:
        """Everything is done at once."""

    def prompt(self, keys: Keys) -> Keys:
        """The keys."""
        return keys

    def match(self, prompt: Keys) -> Matches:
        """Columns over all endpoints."""
        return self.index.match(prompt, self.endpoint_ids)

    def held(self, found: Any, slot: int) -> int:
        """On the device."""
        return int(found.device_blocks[slot])
