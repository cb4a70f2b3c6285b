"""A fleet of modelled engines: requests in, tokens and KV changes out, time as the caller says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from farsight.kernel_cache import drop_stale
from farsight.keys import CANONICAL_BLOCK_TOKENS, Keys
from sim.engine import advance as kernels
from sim.engine import layout
from sim.engine.arena import Arena
from sim.engine.layout import N_EVENTS, N_KV, N_KV_KEYS, NONE, State, make_state
from sim.engine.spec import EngineSpec, TierSpec

# Before any kernel is called: what is stored is loaded then.
drop_stale(Path(__file__).parent.glob("*.py"), Path(kernels.advance.stats.cache_path))


class Kind(IntEnum):
    """What happened to a request."""

    FIRST_TOKEN = layout.FIRST_TOKEN
    FINISHED = layout.FINISHED


_KINDS = tuple(Kind)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a request."""

    kind: Kind
    engine: int
    request: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Gauges:
    """What an engine's metrics page says."""

    running: int
    waiting: int
    kv_usage_ratio: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a request stands; cached tokens are NONE before it was let in."""

    generated: int
    cached_tokens: int
    host_tokens: int
    storage_tokens: int
    preemptions: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Sums over all engines."""

    steps: int
    preemptions: int


@dataclass(frozen=True, slots=True)
class KvChanges:
    """KV events since the last call, as columns; `keys[at[i] : at[i] + count[i]]` belong to row i.

    `changed` says of each key that it came to, or left, the pool with this event: the engine may
    hold several copies of a block.
    """

    rows: npt.NDArray[np.void]
    keys: Keys
    changed: npt.NDArray[np.bool_]


class Engines:
    """Owns the state of all engines.

    Requests are named by slots; a slot is free again after `release`.
    """

    def __init__(self, specs: Sequence[EngineSpec], storage: TierSpec | None = None) -> None:
        if storage and len({s.block_tokens for s in specs if s.mounts_storage}) > 1:
            raise InvalidField("block_tokens", "the same on all engines that share the storage")
        if storage and storage.capacity_tokens < layout.storage_block_tokens(specs):
            raise InvalidField("storage", "capacity for at least one block")
        self.specs = tuple(specs)
        self.state: State = make_state(specs, storage)
        self._arena = Arena()
        self._free: list[int] = []
        self._used = 0
        self._ranges: dict[int, tuple[int, int]] = {}
        self.reached_s = 0.0
        self.next_s = np.inf
        """When an engine does something next; infinite when all are idle."""
        self._events = 0
        self._kv_events = 0

    def __len__(self) -> int:
        return len(self.specs)

    @property
    def in_flight(self) -> list[int]:
        """Slots of the requests that were submitted and not released."""
        return list(self._ranges)

    def submit(
        self,
        engine: int,
        keys: Keys,
        prompt_tokens: int,
        output_tokens: int,
        now_s: float,
        lora: int = NONE,
    ) -> int:
        """Queue a request; returns its slot.

        :param keys: canonical block keys of the prompt and, after it, of the answer.
        :raises InvalidField: the sequence has no token to compute, or to generate, or can never fit
            the device cache; the keys are not its own.
        """
        for name, tokens in (("prompt_tokens", prompt_tokens), ("output_tokens", output_tokens)):
            if tokens < 1:
                raise InvalidField(name, f"at least 1, not {tokens}")
        total = prompt_tokens + output_tokens
        if kernels.needs_blocks(self.state, engine, total) > self.specs[engine].blocks:
            raise InvalidField(
                "prompt_tokens", f"with the output at most the KV cache, not {total}"
            )
        if keys.size != total // CANONICAL_BLOCK_TOKENS:
            raise InvalidField("keys", f"{total // CANONICAL_BLOCK_TOKENS} keys, not {keys.size}")
        entries = keys.size + 1
        at = self._arena.take(entries)
        self._make_room()
        self.state.arena_keys[at : at + keys.size] = keys
        slot = self._free.pop() if self._free else self._new_slot()
        self._ranges[slot] = at, entries
        arrival_s = float(now_s)  # an integer would have the kernels compiled anew
        kernels.submit(self.state, slot, engine, at, prompt_tokens, output_tokens, lora, arrival_s)
        self.next_s = min(self.next_s, float(self.state.next_s[engine]))
        return slot

    def _make_room(self) -> None:
        size = self.state.arena_keys.size
        while size < self._arena.size:
            size *= 2
        if size != self.state.arena_keys.size:
            self.state = self.state._replace(
                arena_keys=layout.grown(self.state.arena_keys, size),
                arena_blocks=layout.grown(self.state.arena_blocks, size),
            )

    def _new_slot(self) -> int:
        if self._used == self.state.requests.size:
            self.state = self.state._replace(
                requests=layout.grown(self.state.requests, 2 * self._used)
            )
        self._used += 1
        return self._used - 1

    def advance(self, until_s: float, stops_at_events: bool = True) -> float:
        """Let time pass; returns how far, see `sim.engine.advance.advance`."""
        self.reached_s, self.next_s, self._events, self._kv_events = kernels.advance(
            self.state, float(until_s), stops_at_events
        )
        return self.reached_s

    @property
    def counters(self) -> Counters:
        """Sums since the start."""
        return Counters(
            int(self.state.counters[layout.STEPS]), int(self.state.counters[layout.PREEMPTIONS])
        )

    def take_events(self) -> Iterator[Event]:
        """First tokens and ends since they were last cleared, in order."""
        if self._events:
            for row in self.state.events[: self._events].tolist():
                yield Event(_KINDS[row[0]], row[1], row[2], row[3])

    def take_kv_changes(self) -> KvChanges | None:
        """KV events since they were last cleared; None when there are none. Views: copy to keep."""
        if not self._kv_events:
            return None
        count, keys = self._kv_events, int(self.state.counters[N_KV_KEYS])
        return KvChanges(
            self.state.kv_events[:count], self.state.kv_keys[:keys], self.state.kv_changed[:keys]
        )

    @property
    def is_kv_full(self) -> bool:
        """KV changes have to be taken before time goes on."""
        return self._kv_events > layout.KV_ROOM

    def clear_events(self) -> None:
        """Forget the events that were taken."""
        if self._events:
            self.state.counters[N_EVENTS] = self._events = 0

    def clear_kv_changes(self) -> None:
        """Forget the KV changes that were taken."""
        if self._kv_events:
            self.state.counters[N_KV : N_KV_KEYS + 1] = self._kv_events = 0

    def clear_taken(self) -> None:
        """Forget both."""
        self.clear_events()
        self.clear_kv_changes()

    def progress(self, slot: int) -> Progress:
        """Where a request stands."""
        row = self.state.requests[slot]
        return Progress(
            int(row["generated"]),
            int(row["cached_tokens"]),
            int(row["host_tokens"]),
            int(row["storage_tokens"]),
            int(row["preemptions"]),
        )

    def generated(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Output tokens so far of some requests."""
        generated: npt.NDArray[np.int64] = self.state.requests["generated"][slots]
        return generated

    def last_token_s(self, slot: int) -> float:
        """When the request's last output token came."""
        return float(self.state.requests[slot]["last_token_s"])

    def cached_tokens(self, slot: int) -> int:
        """What a request found in the caches when it was first let in."""
        return int(self.state.requests[slot]["cached_tokens"])

    def release(self, slot: int) -> None:
        """A request that has finished is forgotten; one that has not is aborted."""
        if self.state.requests[slot]["state"] != layout.DONE:
            kernels.abort(self.state, slot)
        self.state.requests[slot]["state"] = layout.FREE
        self._arena.give_back(*self._ranges.pop(slot))
        self._free.append(slot)

    def gauges(self, engine: int) -> Gauges:
        """What its metrics page says now."""
        row, pool = self.state.engines[engine], self.state.pools[engine]
        return Gauges(
            int(row["running"]), int(row["waiting"]), 1 - float(pool["free"]) / float(pool["size"])
        )

    def is_alive(self, engine: int) -> bool:
        """Its process runs, hung or not."""
        return bool(self.state.engines[engine]["alive"])

    def slow_down(self, engine: int, factor: float) -> None:
        """From its next step on, steps take `factor` times as long."""
        self.state.engines[engine]["slowness"] = factor

    def hang(self, engine: int, until_s: float) -> None:
        """No step ends before `until_s`."""
        self.state.engines[engine]["hung_until_s"] = until_s
        if np.isfinite(self.state.next_s[engine]):
            self.state.next_s[engine] = max(until_s, self.state.next_s[engine])
            self.next_s = float(self.state.next_s.min())

    def kill(self, engine: int) -> list[int]:
        """The process dies with its cache; returns the slots of the requests that were there."""
        lost = [s for s in self._ranges if self.state.requests[s]["engine"] == engine]
        for slot in lost:
            if self.state.requests[slot]["state"] != layout.DONE:
                kernels.abort(self.state, slot)
        row = self.state.engines[engine]
        row["alive"] = row["in_step"] = 0
        row["hung_until_s"] = -np.inf
        row["host_free_s"] = 0.0
        self.state.next_s[engine] = np.inf
        self.next_s = float(self.state.next_s.min())
        self.state.loras[engine] = NONE
        for pool in (engine, int(row["host_pool"])):
            if pool != NONE:
                self._empty(pool)
        return lost

    def _empty(self, pool: int) -> None:
        row = self.state.pools[pool]
        layout.fill_pool(self.state, pool, int(row["size"]), int(row["keys_per_block"]))

    def empty_cache(self, engine: int) -> bool:
        """Forget the prefix cache of the device, unannounced; False while requests hold blocks."""
        row = self.state.pools[engine]
        if row["free"] != row["size"]:
            return False
        self._empty(engine)
        return True

    def revive(self, engine: int) -> None:
        """A new process with an empty cache."""
        self.state.engines[engine]["alive"] = 1
        self.state.engines[engine]["slowness"] = 1.0

    def held_keys(self, pool: int) -> Keys:
        """Canonical keys that a pool holds, in no order."""
        keys: Keys = self.state.index_keys[pool]
        held: Keys = keys[keys != 0]
        return held
