"""Open loops of requests without a history: new questions on shared system prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrivals import poisson_times
from sim.lengths import Lengths
from sim.offered import Offered, Session
from sim.open_loop import Point, open_loop, points_of
from sim.shared_prefix import Population, single_turns
from sim.workload import Knobs, LadderKnob, PublishedFleet, check_knobs

DURATION_S = 60.0
RATES_PER_S = (2, 5, 10, 15, 20)
FLEET = PublishedFleet(8, "qwen3-32b-2xh100")


@dataclass(frozen=True, slots=True)
class SingleTurn:
    """A workload of the intelligent-scheduling post (2025-09-03), which rises from 2 to 20/s.

    The post gives neither lengths nor the fleet: 60 s a rate on 8 pods are assumed.
    """

    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    name: str
    description: str
    population: Population
    question: Lengths
    output: Lengths
    ladder: tuple[float, ...] = RATES_PER_S
    fleet: PublishedFleet = FLEET

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A stage for each rate of the ladder, or the one rate asked for."""
        check_knobs(knobs, takes=("rate_per_s", "duration_s"))

        def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
            times = poisson_times(point.rate_per_s, point.duration_s, rng)
            return single_turns(self.population, self.question, self.output, times, stage, rng)

        return Offered(open_loop(points_of(knobs, self.ladder, DURATION_S), sessions, rng))
