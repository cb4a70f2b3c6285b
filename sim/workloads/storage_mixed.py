"""Mixed load of the storage post (2026-02-09): known prompts, new questions, growing users.

Two pods, 40 requests/s; each user has a system prompt of 2,000 tokens, seen before, and asks new
questions of 256 tokens for 256 tokens of output. A warm-up sends the system prompts of the users
that join, with one output token, evenly at the same rate.

Assumed, because only a chart is published: the user counts, 60 s at each, and users drawn
uniformly. `concurrency` is the number of users.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from sim.arrivals import poisson_times
from sim.lengths import Fixed
from sim.offered import Offered, Session, Stage, Turn
from sim.shared_prefix import Population, single_turns
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

RATE_PER_S = 40.0
DURATION_S = 60.0
USERS = (250, 500, 1000, 2000, 4000)
SYSTEM_TOKENS = 2000
QUESTION = Fixed(256)
OUTPUT = Fixed(256)


@dataclass(frozen=True, slots=True)
class StorageMixed:
    """A steady rate from more and more users."""

    name: ClassVar[str] = "storage-mixed"
    description: ClassVar[str] = "known 2,000-token prompts with new questions, more and more users"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(2, "llama-8b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = USERS
    ladder_knob: ClassVar[LadderKnob] = "concurrency"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A warm-up and a stage for each user count, or for the one asked for."""
        check_knobs(knobs, takes=("concurrency", "rate_per_s", "duration_s"))
        counts = USERS if knobs.concurrency is None else (knobs.concurrency,)
        rate_per_s = RATE_PER_S if knobs.rate_per_s is None else knobs.rate_per_s
        duration_s = DURATION_S if knobs.duration_s is None else knobs.duration_s
        return Offered(_stages(counts, rate_per_s, duration_s, rng))


def _stages(
    counts: tuple[int, ...], rate_per_s: float, duration_s: float, rng: np.random.Generator
) -> Iterator[Stage]:
    for number, (known, users) in enumerate(pairwise((0, *counts))):
        population = Population("storage-mixed", users, 1, SYSTEM_TOKENS)
        warm_up = _first_sight(population, known, rate_per_s)
        yield Stage(f"{users} users warm-up", rate_per_s, warm_up, is_measured=False)
        own = rng.spawn(1)[0]
        times = poisson_times(rate_per_s, duration_s, own)
        # Questions of stage 0 belong to the warm-ups.
        measured = single_turns(population, QUESTION, OUTPUT, times, number + 1, own)
        yield Stage(f"{users} users", rate_per_s, measured)


def _first_sight(population: Population, known: int, rate_per_s: float) -> Iterator[Session]:
    for user in range(known, population.users):
        question = population.question(QUESTION.value, 0, user)
        turn = Turn(question, output_tokens=1, at_s=(user - known) / rate_per_s)
        yield Session(f"warm-up-{user}", population.system(user), (turn,))


WORKLOAD: Workload = StorageMixed()
