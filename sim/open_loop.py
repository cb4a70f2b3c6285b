"""Open loops: requests arrive at a rate, however busy the fleet is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sim.offered import Session, Stage
from sim.workload import Knobs


@dataclass(frozen=True, slots=True)
class Point:
    """A rate that is held for some time."""

    rate_per_s: float
    duration_s: float
    is_measured: bool = True

    @property
    def label(self) -> str:
        """What the report calls it."""
        return f"{self.rate_per_s:g}/s" if self.is_measured else "warm-up"


SessionsOf = Callable[[int, Point, np.random.Generator], Iterator[Session]]


def points_of(knobs: Knobs, rates: Sequence[float], duration_s: float) -> tuple[Point, ...]:
    """A point for each rate, or the one that the knobs ask for."""
    held_s = duration_s if knobs.duration_s is None else knobs.duration_s
    asked = rates if knobs.rate_per_s is None else (knobs.rate_per_s,)
    return tuple(Point(rate, held_s) for rate in asked)


def open_loop(
    points: Sequence[Point], sessions_of: SessionsOf, rng: np.random.Generator
) -> Iterator[Stage]:
    """A stage for each point; `sessions_of` is given the stage's number and its own randomness."""
    for number, point in enumerate(points):
        # Its own generator: what a stage draws does not depend on how far others are consumed.
        sessions = sessions_of(number, point, rng.spawn(1)[0])
        yield Stage(point.label, point.rate_per_s, sessions, point.is_measured)
