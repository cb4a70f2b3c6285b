"""What a workload is, what a user may turn on it, and where workloads are found.

A workload is one file in `workloads/` with a value `WORKLOAD`. Its name is the file's stem with
dashes.
"""

import importlib
import pkgutil
from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from farsight.errors import InvalidField
from sim import workloads
from sim.offered import Offered

LadderKnob = Literal["rate_per_s", "concurrency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What a user may turn; None leaves it to the workload."""

    pods: int
    """Size of the fleet. It changes the load only where a workload says so."""
    rate_per_s: float | None = None
    """Replaces the workload's stages by one of this rate."""
    concurrency: int | None = None
    """Users of a closed loop."""
    duration_s: float | None = None
    """Length of each stage."""
    trace: Path | None = None
    """File to replay."""
    scale: float = 1.0
    """Multiplies the rate of a trace."""

    def __post_init__(self) -> None:
        if self.pods < 1:
            raise InvalidField("pods", "a number from 1")
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidField("concurrency", "a number from 1")
        for knob in ("rate_per_s", "duration_s", "scale"):
            value = getattr(self, knob)
            if value is not None and not 0 < value < inf:
                raise InvalidField(knob, "a number above 0")


@dataclass(frozen=True, slots=True)
class PublishedFleet:
    """The set-up that a workload is published for."""

    pods: int
    hardware: str
    """Model and accelerators of a pod, for example `qwen3-32b-2xh100`."""


class Workload(Protocol):
    """Offers load; holds its published parameters."""

    @property
    def name(self) -> str:
        """Its registered name."""
        ...

    @property
    def description(self) -> str:
        """One line for a list."""
        ...

    @property
    def fleet(self) -> PublishedFleet:
        """The default fleet."""
        ...

    @property
    def ladder(self) -> tuple[float, ...]:
        """Values of `ladder_knob` on which a knee can be looked for, rising."""
        ...

    @property
    def ladder_knob(self) -> LadderKnob:
        """The knob that the ladder turns."""
        ...

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """The load. Bad knobs and bad traces raise here, not while it is consumed."""
        ...


def check_knobs(knobs: Knobs, takes: Collection[str]) -> None:
    """Raise InvalidField for the first knob that is turned and not among `takes`."""
    untouched = Knobs(pods=knobs.pods)
    for knob in ("rate_per_s", "concurrency", "duration_s", "trace", "scale"):
        if knob not in takes and getattr(knobs, knob) != getattr(untouched, knob):
            raise InvalidField(knob, f"it unset; this workload takes {', '.join(takes)}")


def workload_names() -> tuple[str, ...]:
    """The names of all workloads, in order."""
    found = pkgutil.iter_modules(workloads.__path__)
    return tuple(sorted(module.name.replace("_", "-") for module in found))


def load_workload(name: str) -> Workload:
    """The workload of a name."""
    if name not in workload_names():
        raise InvalidField("workload", f"one of {', '.join(workload_names())}")
    module = importlib.import_module(f"{workloads.__name__}.{name.replace('-', '_')}")
    workload: Workload = module.WORKLOAD
    return workload
