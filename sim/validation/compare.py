"""Measured against predicted: how far the simulator is off, per pass and over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from sim.validation.fit import fit, slowness
from sim.validation.records import Machine, Observation, Pass, PodSizes, Recording
from sim.validation.replay import Constants, Predicted, replay, script_of


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantile of one time."""

    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Relative, without sign."""
        return abs(self.predicted_s / self.measured_s - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pass: how slow the machine was in its calibration, figures of its workload."""

    slowness: float
    machine: Machine
    figures: dict[str, Figure]
    requests: int
    cached_tokens_equal: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """All passes, and the constants that they share."""

    constants: Constants
    passes: tuple[Comparison, ...]
    cached_tokens_repeated_share: float
    """Of the workload's requests: the pod itself took the same from its cache in every pass."""

    def error(self, name: str) -> float:
        """Median over the passes."""
        return median(p.figures[name].error for p in self.passes)

    @property
    def cached_tokens_equal_share(self) -> float:
        """Of all requests of all passes."""
        return sum(p.cached_tokens_equal for p in self.passes) / sum(
            p.requests for p in self.passes
        )


def judge(recording: Recording) -> Verdict:
    """Calibrate on all passes, and predict each with the speed that its own calibration shows."""
    parts = [part for one in recording.passes for part in one.calibration]
    constants = fit(parts, recording.sizes)
    return Verdict(
        constants,
        tuple(_judge_pass(one, recording.sizes, constants) for one in recording.passes),
        repeated_share([one.workload for one in recording.passes]),
    )


def _judge_pass(one: Pass, sizes: PodSizes, constants: Constants) -> Comparison:
    factor = slowness(one.calibration, sizes, constants)
    predicted = replay(script_of(one.workload), sizes, constants.slowed(factor))
    return Comparison(
        factor,
        one.machine,
        figures_of(one.workload, predicted),
        len(one.workload),
        cached_tokens_equal(one.workload, predicted),
    )


def figures_of(
    measured: Sequence[Observation], predicted: Sequence[Predicted]
) -> dict[str, Figure]:
    """Quantiles by name; both sequences are of the same requests."""
    times = {
        "ttft": ([m.ttft_s for m in measured], [p.ttft_s for p in predicted]),
        "e2e": ([m.e2e_s for m in measured], [p.e2e_s for p in predicted]),
    }
    return {
        f"{name}_p{percent}": Figure(
            float(np.percentile(real, percent)), float(np.percentile(model, percent))
        )
        for name, (real, model) in times.items()
        for percent in (50, 90)
    }


def cached_tokens_equal(measured: Sequence[Observation], predicted: Sequence[Predicted]) -> int:
    """Requests that took exactly as much from the cache as predicted."""
    return sum(m.cached_tokens == p.cached_tokens for m, p in zip(measured, predicted, strict=True))


def repeated_share(workloads: Sequence[Sequence[Observation]]) -> float:
    """Share of the requests, by label, that had the same cached tokens in every pass.

    Which of two requests ends first, and so what is evicted first, is a matter of microseconds.
    """
    seen: dict[str, set[int]] = {}
    for request in (request for workload in workloads for request in workload):
        seen.setdefault(request.label, set()).add(request.cached_tokens)
    return sum(len(values) == 1 for values in seen.values()) / len(seen)
