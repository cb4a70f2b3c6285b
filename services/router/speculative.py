"""Prompts on their way: what an endpoint holds as soon as it begins what was just routed to it.

An engine enters a prompt's blocks into its cache when it schedules the request, so the next request
behind it finds them there. The index hears of them when the engine does that, which may be seconds
after the decision. Until then a decision stands for its blocks. That is over

- for the blocks that an exact answer has shown: from then on the index is believed, and the rest
  is over, too, when it shows one of them to be gone;
- moments after the first token was reported, whatever the index says;
- when the request ends, fails or goes elsewhere, or its endpoint fails, leaves or restarts;
- after `lifetime_s`, a quarter of it where another replica decided: its reports do not come here.

Block keys are chained: two prompts share exactly the blocks up to the last position at which their
keys are equal. So a prompt is kept as its row of keys, and what it shares with another one is found
by bisection, without a table.
"""
# mypy: disable-error-code="no-untyped-def"

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from farsight.keys import Keys
from services.router import metrics

Blocks = npt.NDArray[np.int64]

MAX_PROMPTS = 4096
# All prompts together; 8 MiB.
MAX_KEYS = 1 << 20
# Of one prompt: its head stands for it. 262,144 tokens.
MAX_PROMPT_KEYS = MAX_KEYS // 64
# From an engine's event to the index's answer, at most.
SETTLE_S = 0.1
HEARD_LIFETIME_SHARE = 0.25
# Names of prompts that are over are given up a few at a time.
_GIVEN_UP_PER_CALL = 64
_MAX_REMEMBERED_ROWS = 256
_GONE = -1


@njit(cache=True, nogil=True)
def _shared(query, keys, start, shared, limit):
    """How many keys from `start` on are the query's: at least `shared`, at most `limit`."""
    while shared < limit:
        middle = (shared + limit + 1) // 2
        if keys[start + middle - 1] == query[middle - 1]:
            shared = middle
        else:
            limit = middle - 1
    return shared


@njit(cache=True, nogil=True)
def _extend(query, live, now_s, expires_s, slots, starts, lengths, firsts, seen, keys,
            rows, indexed, is_exact, out):  # fmt: skip
    """Raise `out`, blocks by row, to what the live prompts stand for; returns how many of them an
    exact answer shows to be stored and to be evicted: these are over."""
    covered = evicted = 0
    for number in range(live[0], live[1]):
        i = number % expires_s.size
        if firsts[i] != query[0] or slots[i] < 0 or expires_s[i] <= now_s:
            continue
        row = rows[slots[i]]
        if row < 0:
            continue
        start, limit, best = starts[i], min(lengths[i], query.size), out[row]
        if is_exact[row]:
            at = seen[i]
            if at >= limit or keys[start + at] != query[at]:
                continue  # all that they share was in the index: it knows better
            if indexed[row] < at:
                slots[i] = -1
                evicted += 1
                continue
            if indexed[row] > at:
                seen[i] = _shared(query, keys, start, at + 1, min(limit, indexed[row]))
                if seen[i] == lengths[i]:
                    slots[i] = -1
                    covered += 1
                    continue
        if best < limit and keys[start + best] == query[best]:
            out[row] = _shared(query, keys, start, best + 1, limit)
    return covered, evicted


class SpeculativePrompts:
    """The latest prompts, in a ring: the oldest make way.

    :param lifetime_s: how long a prompt counts at most; 0 switches it off.
    """

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._live = np.zeros(2, np.int64)  # numbers of the oldest prompt and of the next one
        self._ids = [""] * MAX_PROMPTS
        self._numbers: dict[str, int] = {}
        self._expires_s = np.zeros(MAX_PROMPTS)
        self._slots = np.full(MAX_PROMPTS, _GONE, np.int32)
        self._begins = np.zeros(MAX_PROMPTS, np.int64)  # in keys ever written
        self._starts = np.zeros(MAX_PROMPTS, np.int64)
        self._lengths = np.zeros(MAX_PROMPTS, np.int64)
        self._firsts = np.zeros(MAX_PROMPTS, np.uint64)
        self._seen = np.zeros(MAX_PROMPTS, np.int64)
        self._keys = np.zeros(MAX_KEYS, np.uint64)
        self._written = 0
        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []
        self._rows: dict[tuple[str, ...], npt.NDArray[np.int32]] = {}

    def __len__(self) -> int:
        """Prompts that may still count."""
        oldest, upcoming = self._live.tolist()
        alive = np.arange(oldest, upcoming) % MAX_PROMPTS
        in_time = self._expires_s[alive] > self._clock()
        return int(np.count_nonzero(in_time & (self._slots[alive] != _GONE)))

    def add(self, endpoint_id: str, keys: Keys, decision_id: str = "") -> None:
        """A prompt is on its way; its decision has an id when it was made here."""
        keys = keys[:MAX_PROMPT_KEYS]
        if not keys.size or not self._lifetime_s:
            return
        self._give_up()
        if self._live[1] - self._live[0] == MAX_PROMPTS:
            self._drop_oldest("crowded")
        start = self._room_for(keys.size)
        number = int(self._live[1])
        i = number % MAX_PROMPTS
        self._keys[start : start + keys.size] = keys
        self._begins[i], self._starts[i], self._lengths[i] = self._written, start, keys.size
        self._firsts[i], self._seen[i] = keys[0], 0
        self._slots[i] = self._slot(endpoint_id)
        share = 1.0 if decision_id else HEARD_LIFETIME_SHARE
        self._expires_s[i] = self._clock() + self._lifetime_s * share
        self._ids[i] = decision_id
        if decision_id:
            self._numbers[decision_id] = number
        self._written += keys.size
        self._live[1] += 1

    def _room_for(self, count: int) -> int:
        """Where so many keys can be written one behind the other; old prompts make way."""
        at = self._written % MAX_KEYS
        if at + count > MAX_KEYS:
            self._written += MAX_KEYS - at
        limit = self._written + count - MAX_KEYS
        while self._live[0] < self._live[1] and self._begins[self._live[0] % MAX_PROMPTS] < limit:
            self._drop_oldest("crowded")
        return self._written % MAX_KEYS

    def _give_up(self) -> None:
        """Drop the oldest prompts that are over."""
        now = self._clock()
        for _ in range(_GIVEN_UP_PER_CALL):
            oldest, upcoming = self._live.tolist()
            if oldest == upcoming or self._expires_s[oldest % MAX_PROMPTS] > now:
                return
            self._drop_oldest("expired")

    def _drop_oldest(self, why: str) -> None:
        i = int(self._live[0]) % MAX_PROMPTS
        self._live[0] += 1
        if self._slots[i] != _GONE:
            self._slots[i] = _GONE
            metrics.series(metrics.speculative_prompts, why).inc()
        self._numbers.pop(self._ids[i], None)
        self._ids[i] = ""

    def withdraw(self, decision_id: str) -> Keys | None:
        """The request goes elsewhere or nowhere; its keys, when they are still here.

        They are, too, where it counted no more: its endpoint failed before, or had all of them.
        """
        number = self._numbers.pop(decision_id, None)
        if number is None:
            return None
        i = number % MAX_PROMPTS
        if self._slots[i] != _GONE:
            metrics.series(metrics.speculative_prompts, "withdrawn").inc()
        self._slots[i], self._ids[i] = _GONE, ""
        start, length = int(self._starts[i]), int(self._lengths[i])
        return self._keys[start : start + length].copy()

    def begun(self, decision_id: str) -> None:
        """The request is served: the index hears of its blocks within moments."""
        number = self._numbers.get(decision_id)
        if number is not None:
            i = number % MAX_PROMPTS
            self._expires_s[i] = min(self._expires_s[i], self._clock() + SETTLE_S)

    def fail(self, endpoint_id: str) -> None:
        """What is on its way to the endpoint may never begin."""
        slot = self._slot_of.get(endpoint_id)
        if slot is not None:
            hit = self._slots == slot
            self._slots[hit] = _GONE
            metrics.series(metrics.speculative_prompts, "withdrawn").inc(int(np.count_nonzero(hit)))

    def forget(self, endpoint_id: str) -> None:
        """The endpoint left or began a new life."""
        self.fail(endpoint_id)
        slot = self._slot_of.pop(endpoint_id, None)
        if slot is not None:
            self._free.append(slot)
            self._rows.clear()

    def _slot(self, endpoint_id: str) -> int:
        slot = self._slot_of.get(endpoint_id)
        if slot is None:
            slot = self._free.pop() if self._free else len(self._slot_of)
            self._slot_of[endpoint_id] = slot
            self._rows.clear()
        return slot

    def extend(
        self,
        keys: Keys,
        endpoint_ids: Sequence[str],
        indexed: Blocks,
        is_exact: npt.NDArray[np.bool_],
    ) -> Blocks:
        """Blocks of the prompt that each endpoint holds on its device or is about to hold.

        :param indexed: blocks that it is known to hold; shape (endpoints,).
        :param is_exact: where `indexed` is exact.
        """
        oldest, upcoming = self._live.tolist()
        if oldest == upcoming or not keys.size:
            return indexed
        out = indexed.copy()
        rows = self._rows_of(tuple(endpoint_ids))
        over = _extend(
            keys, self._live, self._clock(), self._expires_s, self._slots, self._starts,
            self._lengths, self._firsts, self._seen, self._keys, rows, indexed, is_exact, out,
        )  # fmt: skip
        for why, count in zip(("covered", "evicted"), over, strict=True):
            if count:
                metrics.series(metrics.speculative_prompts, why).inc(count)
        return out

    def _rows_of(self, endpoint_ids: tuple[str, ...]) -> npt.NDArray[np.int32]:
        """Row of each slot, -1 where its endpoint is not asked for."""
        rows = self._rows.get(endpoint_ids)
        if rows is None:
            if len(self._rows) >= _MAX_REMEMBERED_ROWS:
                self._rows.clear()
            rows = np.full(len(self._slot_of) + len(self._free), -1, np.int32)
            for row, endpoint_id in enumerate(endpoint_ids):
                slot = self._slot_of.get(endpoint_id)
                if slot is not None:
                    rows[slot] = row
            self._rows[endpoint_ids] = rows
        return rows


def warm() -> None:
    """Compile or load the kernel."""
    prompts = SpeculativePrompts(1.0)
    keys = np.arange(1, 3, dtype=np.uint64)
    prompts.add("warm", keys)
    prompts.extend(keys, ("warm",), np.zeros(1, np.int64), np.zeros(1, np.bool_))
