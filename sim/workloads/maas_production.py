"""The production profile of the predicted-latency post (2026-03-13).

13 pods, eight stages that alternate 1 and 5 requests/s, a system prompt of 1,000 tokens, questions
of 729 +- 13,550 and outputs of 300 +- 2,213 tokens, several turns, Poisson arrivals, about 94 % of
the prompt tokens cached at the peak, at most 1,000 requests in flight.

Lengths are lognormal with these means and deviations: a normal distribution clipped at 1 would have
a mean of thousands. They are then clipped at the published maxima, 131,072 and 8,192, which takes
about an eighth off the means. No distribution within these bounds has the published deviation of
questions, so it is that before clipping.

Assumed, because not published: all users share the system prompt; a stage lasts 300 s; a user sends
21 turns in it, drawn uniformly in time. With n turns a prompt holds 1,000 + (n - 1) / 2 earlier
questions and answers on average, and 21 turns make new questions 6 % of all prompt tokens.
Conversations begin anew with each stage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrivals import poisson_times
from sim.lengths import LogNormal
from sim.offered import Offered, Session
from sim.open_loop import Point, open_loop, points_of
from sim.shared_prefix import Population, conversations
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

RATES_PER_S = (1, 5, 1, 5, 1, 5, 1, 5)
STAGE_S = 300.0
TURNS = 21
SYSTEM_TOKENS = 1000
QUESTION = LogNormal(729, 13_550, high=131_072)
OUTPUT = LogNormal(300, 2_213, high=8_192)


@dataclass(frozen=True, slots=True)
class MaasProduction:
    """Models as a service: long conversations with very uneven lengths."""

    name: ClassVar[str] = "maas-production"
    description: ClassVar[str] = "long conversations with very uneven lengths, 94 % cacheable"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(13, "qwen3-480b-8xh200")
    ladder: ClassVar[tuple[float, ...]] = (1, 2, 3, 4, 5, 6, 8)
    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    max_in_flight: int | None = 1000

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """The eight stages, or the one rate asked for."""
        check_knobs(knobs, takes=("rate_per_s", "duration_s"))

        def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
            times = poisson_times(point.rate_per_s, point.duration_s, rng)
            users = max(1, round(times.size / TURNS))
            population = Population(self.name, 1, users, SYSTEM_TOKENS)
            return conversations(population, QUESTION, OUTPUT, times, stage, rng)

        points = points_of(knobs, RATES_PER_S, STAGE_S)
        return Offered(open_loop(points, sessions, rng), self.max_in_flight)


WORKLOAD: Workload = MaasProduction()
