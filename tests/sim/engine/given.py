"""Engines whose step times are exact in binary, requests for them, and a record of what happens."""

import math
from dataclasses import dataclass, field

import numpy as np

from farsight.keys import CANONICAL_BLOCK_TOKENS, Keys, chain, seed_of
from sim.engine import layout
from sim.engine.engines import Engines, Kind, Progress
from sim.engine.integrity import check_integrity
from sim.engine.spec import EngineSpec, StepRates, TierSpec
from sim.tokens import Piece, tokens_of

# Powers of two: sums are exact in any order, so times can be compared with ==.
RATES = StepRates(2**-6, 2**-12, 2**-22, 2**-10, 2**-17)
SEED = seed_of("model", "", CANONICAL_BLOCK_TOKENS)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an engine gets it."""

    keys: Keys
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Change:
    """One block that came into a cache or left it."""

    time_s: float
    engine: int | None
    """None: the shared storage."""
    tier: int
    is_store: bool
    keys: tuple[int, ...]
    changed: tuple[bool, ...]
    request: int | None = None
    position: int | None = None


def spec(
    blocks: int,
    block_tokens: int = 16,
    budget: int = 8192,
    sequences: int = 256,
    rates: StepRates = RATES,
    host: TierSpec | None = None,
    mounts_storage: bool = False,
    loras: int = 0,
    lora_load_s: float = 0.0,
) -> EngineSpec:
    """An engine with so many blocks."""
    return EngineSpec(
        rates,
        kv_tokens=blocks * block_tokens,
        block_tokens=block_tokens,
        max_batched_tokens=budget,
        max_sequences=min(sequences, budget),
        host=host,
        mounts_storage=mounts_storage,
        max_loras=loras,
        lora_load_s=lora_load_s,
    )


def asked(*prompt: Piece, output_tokens: int = 1) -> Asked:
    """A request; the answer depends on the last piece of the prompt alone."""
    prompt_tokens = sum(piece.length_tokens for piece in prompt)
    answer = Piece(1_000_000 + prompt[-1].seed, output_tokens)
    keys = chain(SEED, tokens_of([*prompt, answer]), CANONICAL_BLOCK_TOKENS)
    return Asked(keys, prompt_tokens, output_tokens)


def prompt(seed: int, length_tokens: int, output_tokens: int = 1) -> Asked:
    """A request whose prompt is one piece."""
    return asked(Piece(seed, length_tokens), output_tokens=output_tokens)


@dataclass(slots=True)
class Watched:
    """Runs engines and notes what happens to requests, which are named in order of submission.

    What has ended is released when time stands still, and then the integrity of all is checked.
    """

    engines: Engines
    stops_at_events: bool = True
    first_s: dict[int, float] = field(default_factory=dict)
    end_s: dict[int, float] = field(default_factory=dict)
    at_end: dict[int, Progress] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    submitted: int = 0
    slots: dict[int, int] = field(default_factory=dict)
    """Of the requests in flight, by name."""

    def submit(self, wanted: Asked, now_s: float = 0.0, engine: int = 0, lora: int = -1) -> int:
        """Name of the new request."""
        slot = self.engines.submit(
            engine, wanted.keys, wanted.prompt_tokens, wanted.output_tokens, now_s, lora
        )
        self.submitted += 1
        self.slots[self.submitted - 1] = slot
        return self.submitted - 1

    def release(self, name: int) -> None:
        """Abort it, or forget it."""
        self.engines.release(self.slots.pop(name))
        check_integrity(self.engines)

    def run(self, until_s: float = math.inf) -> None:
        """Let time pass, by default until nothing happens any more."""
        while True:
            reached_s = self.engines.advance(until_s, self.stops_at_events)
            check_integrity(self.engines)  # with what has ended still there
            self.note()
            if reached_s >= until_s:
                return

    def progress(self, name: int) -> Progress:
        """Where a request in flight stands."""
        return self.engines.progress(self.slots[name])

    def note(self) -> None:
        """Take what has happened, and release what has ended."""
        names = {slot: name for name, slot in self.slots.items()}
        ended = []
        for event in self.engines.take_events():
            name = names[event.request]
            if event.kind is Kind.FIRST_TOKEN:
                self.first_s[name] = event.time_s
            else:
                self.end_s[name] = event.time_s
                self.at_end[name] = self.engines.progress(event.request)
                ended.append(name)
        self._note_changes(names)
        self.engines.clear_taken()
        for name in ended:
            self.engines.release(self.slots.pop(name))
        check_integrity(self.engines)

    def _note_changes(self, names: dict[int, int]) -> None:
        taken = self.engines.take_kv_changes()
        if taken is None:
            return
        for row in taken.rows:
            part = slice(row["at"], row["at"] + row["keys"])
            is_store = bool(row["action"] == layout.STORE)
            self.changes.append(
                Change(
                    float(row["time_s"]),
                    int(row["engine"]) if row["engine"] != layout.NONE else None,
                    int(row["tier"]),
                    is_store,
                    tuple(taken.keys[part].tolist()),
                    tuple(taken.changed[part].tolist()),
                    names[int(row["request"])] if is_store else None,
                    int(row["block"]) if is_store else None,
                )
            )

    def held(self, pool: int = 0) -> list[int]:
        """Canonical keys in a pool, sorted."""
        keys: list[int] = np.sort(self.engines.held_keys(pool)).tolist()
        return keys


def watched(*specs: EngineSpec, storage: TierSpec | None = None) -> Watched:
    """Idle engines."""
    return Watched(Engines(specs, storage))
