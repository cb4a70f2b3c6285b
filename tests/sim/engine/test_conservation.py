"""Nothing is lost or made up, whatever happens to engines and requests."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from sim.engine.spec import TierSpec
from sim.tokens import Piece
from tests.sim.engine.given import Watched, asked, spec, watched

TICK_S = 2**-7


def fleet(block_tokens: int) -> Watched:
    """Three small engines: all tiers and adapters, storage alone, nothing at all."""
    host = TierSpec(capacity_tokens=40 * block_tokens, load_s_per_token=2**-12, latency_s=2**-8)
    storage = TierSpec(capacity_tokens=90 * block_tokens, load_s_per_token=2**-10)
    engines = watched(
        spec(14, block_tokens, 70, 5, host=host, mounts_storage=True, loras=2, lora_load_s=0.125),
        spec(18, block_tokens, 40, 8, mounts_storage=True),
        spec(16, block_tokens, 200, 6),
        storage=storage,
    )
    engines.stops_at_events = False
    return engines


@dataclass(slots=True)
class Chaos:
    """Random requests, aborts and faults; knows what each request has asked for."""

    rng: np.random.Generator
    engines: Watched
    block_tokens: int
    now_s: float = 0.0
    wanted: dict[int, int] = field(default_factory=dict)
    """Output tokens by name."""
    dead: set[int] = field(default_factory=set)

    def act(self) -> None:
        """Let a little time pass and do one thing."""
        self.now_s += TICK_S * int(self.rng.choice([0, 0, 1, 3, 10]))
        self.engines.run(self.now_s)
        kind = self.rng.random()
        if kind < 0.8:
            self.submit()
        elif kind < 0.9 and self.engines.slots:
            self.drop(int(self.rng.choice(sorted(self.engines.slots))))
        elif kind < 0.985:
            self.disturb(int(self.rng.integers(3)))
        elif self.dead:
            self.engines.engines.revive(self.dead.pop())
        else:
            self.kill(int(self.rng.integers(3)))

    def submit(self) -> None:
        """To an engine that is alive."""
        engine = int(self.rng.choice([e for e in range(3) if e not in self.dead]))
        size = self.block_tokens
        shared = int(self.rng.choice([0, size, 3 * size, 5 * size + 3]))
        pieces = (
            Piece(int(self.rng.integers(4)), shared),
            Piece(int(self.rng.integers(100, 104)), int(self.rng.choice([1, size, 2 * size + 5]))),
        )
        output_tokens = int(self.rng.integers(1, 60))
        lora = int(self.rng.integers(-1, 4))
        name = self.engines.submit(
            asked(*pieces, output_tokens=output_tokens), self.now_s, engine, lora
        )
        self.wanted[name] = output_tokens

    def drop(self, name: int) -> None:
        """Abort a request."""
        self.engines.release(name)
        del self.wanted[name]

    def disturb(self, engine: int) -> None:
        """It is slow, or hangs for a while."""
        if self.rng.random() < 0.5:
            self.engines.engines.slow_down(engine, float(self.rng.choice([1.0, 4.0])))
        else:
            self.engines.engines.hang(engine, self.now_s + 0.25)

    def kill(self, engine: int) -> None:
        """One engine dies, with all that is there."""
        names = {slot: name for name, slot in self.engines.slots.items()}
        for slot in self.engines.engines.kill(engine):
            self.drop(names[slot])
        self.dead.add(engine)


@pytest.mark.parametrize(("block_tokens", "seed"), [(16, 1), (32, 2), (48, 6)])
def test_every_request_ends_with_its_tokens_and_gives_back_its_blocks(
    block_tokens: int, seed: int
) -> None:
    """In a fleet with tiers, adapters, aborts and faults; the integrity is checked on the way."""
    chaos = Chaos(np.random.default_rng(seed), fleet(block_tokens), block_tokens)
    for _ in range(250):
        chaos.act()

    engines = chaos.engines
    engines.run()

    assert engines.slots == {}
    ended = {name: progress.generated for name, progress in engines.at_end.items()}
    assert {name: ended[name] for name in chaos.wanted} == chaos.wanted
    assert all(engines.engines.gauges(e).kv_usage_ratio == 0 for e in range(3))
    assert sum(progress.host_tokens for progress in engines.at_end.values()) > 200
    assert sum(progress.storage_tokens for progress in engines.at_end.values()) > 500
    assert engines.engines.counters.preemptions > 3


@pytest.mark.parametrize("block_tokens", [16, 48])
def test_kv_events_add_up_to_what_is_held(block_tokens: int) -> None:
    """A reader that counts `changed` keys, per engine and tier, holds what the engine holds."""
    chaos = Chaos(np.random.default_rng(5), fleet(block_tokens), block_tokens)
    for _ in range(150):
        chaos.now_s += TICK_S
        engines = chaos.engines
        engines.run(chaos.now_s)
        chaos.submit()
    chaos.engines.run()

    held: dict[tuple[int | None, int], set[int]] = {}
    for change in engines.changes:
        mirror = held.setdefault((change.engine, change.tier), set())
        keys = {key for key, is_new in zip(change.keys, change.changed, strict=True) if is_new}
        assert keys.isdisjoint(mirror) if change.is_store else keys <= mirror
        mirror ^= keys
    assert {place: sorted(keys) for place, keys in held.items()} == {
        (0, 1): engines.held(0), (1, 1): engines.held(1), (2, 1): engines.held(2),
        (0, 2): engines.held(3), (None, 3): engines.held(6),
    }  # fmt: skip
