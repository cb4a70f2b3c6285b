"""A driver on a clock that the test moves, and what it tells its observers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from farsight.extras import prompt_extras
from farsight.keys import CANONICAL_BLOCK_TOKENS, chain, seed_of
from sim.emulator.driver import Driver
from sim.emulator.kv_events import KvEvent
from sim.emulator.run import Adapter, Job, Run
from sim.engine.engines import Progress
from sim.engine.spec import EngineSpec, StepRates, TierSpec

BLOCK = 32


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(slots=True)
class Record:
    """An observer that remembers."""

    ttfts_s: list[float] = field(default_factory=list)
    gaps: list[tuple[int, float]] = field(default_factory=list)
    ends: list[tuple[Run, float]] = field(default_factory=list)
    batches: list[list[dict[str, Any]]] = field(default_factory=list)

    def first_token(self, run: Run, progress: Progress) -> None:
        """Note its time."""
        self.ttfts_s.append(run.ttft_s)

    def tokens(self, count: int, gap_s: float) -> None:
        """Note the gap."""
        self.gaps.append((count, gap_s))

    def ended(self, run: Run, progress: Progress, took_s: float) -> None:
        """Note who and when."""
        self.ends.append((run, took_s))

    def publish(self, events: Sequence[KvEvent]) -> None:
        """Note a batch as it is on the wire."""
        self.batches.append(msgspec.msgpack.decode(msgspec.msgpack.encode(events)))

    def names(self) -> list[list[str]]:
        """Kinds of the events of each batch."""
        return [[event["type"] for event in batch] for batch in self.batches]


def seconds(blocks: int = 20, host: TierSpec | None = None) -> EngineSpec:
    """An engine whose steps take one second."""
    return EngineSpec(
        StepRates(1.0, 0.0, 0.0, 0.0, 0.0),
        kv_tokens=blocks * BLOCK,
        block_tokens=BLOCK,
        max_batched_tokens=1024,
        host=host,
    )


class Driven:
    """Some engines whose steps take one second."""

    def __init__(
        self, pods: int = 1, blocks: int = 20, speed: float = 1.0, host: TierSpec | None = None
    ) -> None:
        self.clock = Clock()
        self.records = [Record() for _ in range(pods)]
        self.driver = Driver(seconds(blocks, host), self.records, speed, self.clock)

    def after(self, seconds: float) -> None:
        """Let time pass in one go."""
        self.clock.now_s += seconds
        self.driver.catch_up()


def job(seed: int, prompt: int, answer: int, lora: str = "", cache_salt: str = "") -> Job:
    """A job whose prompt shares nothing with those of other seeds."""
    tokens = (np.arange(prompt + answer) + seed * 100_003).astype(np.uint32)
    key_seed = seed_of("model", lora, CANONICAL_BLOCK_TOKENS)
    return Job(
        tokens[:prompt],
        tokens[prompt:],
        "length",
        chain(
            key_seed,
            tokens,
            CANONICAL_BLOCK_TOKENS,
            prompt_extras(cache_salt, (), CANONICAL_BLOCK_TOKENS),
        ),
        Adapter(lora, 1) if lora else None,
        cache_salt,
    )
