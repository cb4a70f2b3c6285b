"""A prefix-heavy service for businesses, bound by prefill (published 2025-09-24).

150 groups of 5 users on 8 pods; a user's system prompt and question are always the same, so the
same 750 prompts return. Nothing is appended: each request is a session of its own. The published
generator goes round the shuffled prompts; here each request draws its user uniformly.

Groups scale with the pods, so that the prompts keep their share of the fleet's cache; rates do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from farsight.errors import InvalidField
from sim.arrivals import poisson_times
from sim.offered import Offered, Session, Turn
from sim.open_loop import Point, open_loop, points_of
from sim.shared_prefix import Population
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

WARM_UP = Point(15, 50, is_measured=False)
PUBLISHED = tuple(
    Point(rate_per_s, duration_s)
    for rate_per_s, duration_s in [
        (3, 20), (10, 20), (15, 20), (20, 38), (22, 34), (25, 30), (30, 25), (35, 21),
        (40, 38), (43, 36), (46, 33), (49, 30), (52, 29), (55, 27), (57, 26), (60, 25),
    ]
)  # fmt: skip
POPULATION = Population("b2b-saas", groups=150, users_per_group=5, system_tokens=6000)
QUESTION_TOKENS = 1200
OUTPUT_TOKENS = 1000
DURATION_S = 60.0


@dataclass(frozen=True, slots=True)
class B2bSaas:
    """Its fields are what validation varies."""

    name: ClassVar[str] = "b2b-saas"
    description: ClassVar[str] = "750 returning prompts of 7,200 tokens, 6,000 shared by 5 users"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(8, "qwen3-32b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = tuple(point.rate_per_s for point in PUBLISHED)
    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    output_tokens: int = OUTPUT_TOKENS
    max_in_flight: int | None = None

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A warm-up, then the published ladder or the one rate asked for."""
        check_knobs(knobs, takes=("rate_per_s", "duration_s"))
        if knobs.rate_per_s is None and knobs.duration_s is not None:
            raise InvalidField("duration_s", "it unset without rate_per_s: the ladder has its own")
        ladder = PUBLISHED if knobs.rate_per_s is None else points_of(knobs, (), DURATION_S)
        population = POPULATION.for_pods(knobs.pods, self.fleet.pods)

        def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
            times = poisson_times(point.rate_per_s, point.duration_s, rng)
            users = rng.integers(population.users, size=times.size)
            for number, user in enumerate(users.tolist()):
                question = population.question(QUESTION_TOKENS, user)
                turn = Turn(question, self.output_tokens, float(times[number]))
                yield Session(f"{stage}-{number}", population.system(user), (turn,))

        return Offered(open_loop((WARM_UP, *ladder), sessions, rng), self.max_in_flight)


WORKLOAD: Workload = B2bSaas()
