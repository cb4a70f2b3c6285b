"""Reasoning, bound by decode: a closed loop (published 2026-08-17).

A shared system prompt of 250 tokens, questions of 1,000, outputs of 8,000 on average and at most
32,000. There are as many single-turn conversations as users, and each is issued three times.

Assumed: outputs are lognormal with a deviation of 6,000; each round is issued in an order of its
own; a question draws a new output length each time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.lengths import LogNormal
from sim.offered import Offered, Session, Stage, Turn
from sim.shared_prefix import Population
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

SYSTEM_TOKENS = 250
QUESTION_TOKENS = 1_000
OUTPUT = LogNormal(8_000, 6_000, high=32_000)
ROUNDS = 3
CONCURRENCY = 350


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Short prompts and very long outputs."""

    name: ClassVar[str] = "reasoning"
    description: ClassVar[str] = "short prompts with 8,000 tokens of output, a closed loop"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(10, "qwen3-32b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = (50, 100, 150, 200, 250, 300, 350, 400, 450)
    ladder_knob: ClassVar[LadderKnob] = "concurrency"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """One stage at the concurrency asked for, else at the published knee of 350."""
        check_knobs(knobs, takes=("concurrency",))
        users = CONCURRENCY if knobs.concurrency is None else knobs.concurrency
        sessions = _rounds(Population(self.name, 1, users, SYSTEM_TOKENS), rng.spawn(1)[0])
        return Offered(iter([Stage(f"{users} users", 0, sessions)]), max_sessions=users)


def _rounds(population: Population, rng: np.random.Generator) -> Iterator[Session]:
    for number in range(ROUNDS):
        outputs = OUTPUT.draw(population.users, rng).tolist()
        for user in rng.permutation(population.users).tolist():
            turn = Turn(population.question(QUESTION_TOKENS, user), outputs[user])
            yield Session(f"{number}-{user}", population.system(user), (turn,))


WORKLOAD: Workload = Reasoning()
