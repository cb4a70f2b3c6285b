"""Code generation by agents, bound by prefill: a closed loop (published 2026-08-17).

Each conversation has a system prompt of its own of 3,000 to 100,000 tokens (mean 55,000), 2 to 20
turns (mean 6), 100 to 10,000 tokens of input (mean 1,500) and 50 to 4,000 of output (mean 800) a
turn. A turn follows the one before it at once.

The shapes and deviations are those of the public benchmark profile with the same bounds and means:
25,000 for system prompts, normal with 3.5 for turns, lognormal with 1,200 and 600 for input and
output. Assumed: system prompts are normal; a user has three conversations, one after the other, so
that the fleet stays at its concurrency for most of a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.lengths import LogNormal, Normal
from sim.offered import Offered, Session, Stage, Turn
from sim.seeds import seed_of, seed_space
from sim.tokens import Piece
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

SYSTEM = Normal(55_000, 25_000, low=3_000, high=100_000)
TURNS = Normal(6, 3.5, low=2, high=20)
INPUT = LogNormal(1_500, 1_200, low=100, high=10_000)
OUTPUT = LogNormal(800, 600, low=50, high=4_000)
CONVERSATIONS_PER_USER = 3
CONCURRENCY = 60


@dataclass(frozen=True, slots=True)
class CodeGeneration:
    """Long conversations that share nothing with each other."""

    name: ClassVar[str] = "code-generation"
    description: ClassVar[str] = "agents with long contexts of their own, a closed loop"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(10, "qwen3-32b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = (10, 20, 30, 40, 50, 60, 80, 100)
    ladder_knob: ClassVar[LadderKnob] = "concurrency"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """One stage at the concurrency asked for, else at the published knee of 60."""
        check_knobs(knobs, takes=("concurrency",))
        users = CONCURRENCY if knobs.concurrency is None else knobs.concurrency
        sessions = _conversations(users * CONVERSATIONS_PER_USER, rng.spawn(1)[0])
        return Offered(iter([Stage(f"{users} users", 0, sessions)]), max_sessions=users)


def _conversations(count: int, rng: np.random.Generator) -> Iterator[Session]:
    space = seed_space("code-generation")
    systems = SYSTEM.draw(count, rng).tolist()
    for number, turn_count in enumerate(TURNS.draw(count, rng).tolist()):
        inputs = INPUT.draw(turn_count, rng).tolist()
        outputs = OUTPUT.draw(turn_count, rng).tolist()
        turns = tuple(
            Turn((Piece(seed_of(space, number, turn + 1), inputs[turn]),), outputs[turn])
            for turn in range(turn_count)
        )
        system = Piece(seed_of(space, number, 0), systems[number])
        yield Session(str(number), (system,), turns)


WORKLOAD: Workload = CodeGeneration()
