"""Distributions of token counts and other whole numbers of workloads."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
UNBOUNDED = 2**31 - 1


class Lengths(Protocol):
    """Draws whole numbers."""

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """`count` independent draws."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same number always."""

    value: int

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """`count` times the value; uses no randomness."""
        return np.full(count, self.value, np.int64)


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution, rounded and clipped: only for deviations well below the mean."""

    mean: float
    deviation: float
    low: int = 1
    high: int = UNBOUNDED

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """`count` independent draws."""
        return _counts(rng.normal(self.mean, self.deviation, count), self.low, self.high)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A lognormal distribution with this mean and deviation, rounded, then clipped."""

    mean: float
    deviation: float
    low: int = 1
    high: int = UNBOUNDED

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """`count` independent draws."""
        variance = log(1 + (self.deviation / self.mean) ** 2)
        median_log = log(self.mean) - variance / 2
        return _counts(rng.lognormal(median_log, sqrt(variance), count), self.low, self.high)


def _counts(values: npt.NDArray[np.float64], low: int, high: int) -> Counts:
    return np.clip(np.rint(values), low, high).astype(np.int64)
