"""Open loops of conversations: each turn appends its question and its answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrivals import poisson_times
from sim.lengths import Lengths
from sim.offered import Offered, Session
from sim.open_loop import Point, open_loop, points_of
from sim.shared_prefix import Population, conversations
from sim.workload import Knobs, LadderKnob, PublishedFleet, check_knobs

DURATION_S = 100.0
# The published servers hold 512,000 tokens each.
FLEET = PublishedFleet(10, "qwen3-32b-2xh100-512k")


@dataclass(frozen=True, slots=True)
class MultiTurn:
    """A synthetic workload of the predicted-latency post (2026-03-13).

    Requests arrive for 100 s at each rate and belong to users drawn uniformly. A user's next turn
    waits for the one before it. Conversations begin anew with each rate, so a longer `duration_s`
    makes them longer; system prompts stay.
    Groups scale with the pods, rates do not. The rates of the ladder are assumed: the post raises
    the rate until queues form.
    """

    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    name: str
    description: str
    population: Population
    question: Lengths
    output: Lengths
    ladder: tuple[float, ...]
    fleet: PublishedFleet = FLEET

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A stage for each rate of the ladder, or the one rate asked for."""
        check_knobs(knobs, takes=("rate_per_s", "duration_s"))
        population = self.population.for_pods(knobs.pods, self.fleet.pods)

        def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
            times = poisson_times(point.rate_per_s, point.duration_s, rng)
            return conversations(population, self.question, self.output, times, stage, rng)

        return Offered(open_loop(points_of(knobs, self.ladder, DURATION_S), sessions, rng))
