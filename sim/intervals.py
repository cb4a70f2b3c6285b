"""What several seeds say together: intervals, regret against the oracle, and the knee.

Regret is the ratio of a policy's mean to the oracle's in the cell that differs by the policy only,
so 1 is as good as can be. A seed's ratio over several cells is their geometric mean, in which each
cell weighs the same however slow it is.

The knee is the highest load that a policy sustains: at it and at every lower one the success share
is at least `min_success_share`, and TTFT p90 is at most `ttft_floor_s` or `ttft_factor` times that
of the lowest load, whichever is more. The floor keeps a fast idle fleet from looking saturated as
soon as it queues at all, the factor keeps a slow one from looking saturated when it is idle.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from scipy import stats

from sim.cells import CellKey, CellResult
from sim.figures import Figures

CONFIDENCE = 0.95
MIN_SUCCESS_SHARE = 0.99
TTFT_FLOOR_S = 2.0
TTFT_FACTOR = 5.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far the true one may be from it."""

    mean: float
    half_width: float | None
    """None when there is one sample only."""

    @property
    def low(self) -> float:
        """Lower end; the mean when nothing is known of the spread."""
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """Upper end; the mean when nothing is known of the spread."""
        return self.mean + (self.half_width or 0.0)


@dataclass(frozen=True, slots=True)
class Regret:
    """A policy's means as multiples of the oracle's; None where no pair of cells has both."""

    ttft: Interval | None
    e2e: Interval | None
    ntpot: Interval | None


@dataclass(frozen=True, slots=True)
class LadderPoint:
    """What was seen at one load: requests a second, or concurrency."""

    load: float
    success_share: float | None
    ttft_p90_s: float | None


@dataclass(frozen=True, slots=True)
class Knee:
    """The highest load that is sustained."""

    load: float
    """0 when not even the lowest is."""
    is_end_of_ladder: bool
    """The true knee may be higher, as every load that was tried is sustained."""


def interval(samples: Iterable[float | None], confidence: float = CONFIDENCE) -> Interval | None:
    """Mean and Student-t interval of the samples that are known; None when none is."""
    known = np.array([sample for sample in samples if sample is not None])
    if not known.size:
        return None
    if known.size == 1:
        return Interval(float(known[0]), None)
    error = float(known.std(ddof=1)) / known.size**0.5
    reach = float(stats.t.ppf((1 + confidence) / 2, known.size - 1))
    return Interval(float(known.mean()), reach * error)


def regret(cells: Iterable[CellResult], oracle: Iterable[CellResult]) -> Regret:
    """One policy's cells against the oracle's; a cell without its counterpart is left out."""
    best = {_without_policy(cell.key): cell.overall for cell in oracle}
    pairs: dict[int, list[tuple[Figures, Figures]]] = defaultdict(list)
    for cell in cells:
        if (counterpart := best.get(_without_policy(cell.key))) is not None:
            pairs[cell.key.seed].append((cell.overall, counterpart))
    return Regret(
        _ratio(pairs, lambda figures: figures.ttft.mean_s),
        _ratio(pairs, lambda figures: figures.e2e.mean_s),
        _ratio(pairs, lambda figures: figures.ntpot.mean_s),
    )


def _without_policy(key: CellKey) -> CellKey:
    return replace(key, policy="")


def _ratio(
    pairs: Mapping[int, Sequence[tuple[Figures, Figures]]],
    mean_s: Callable[[Figures], float | None],
) -> Interval | None:
    by_seed = []
    for pairs_of_seed in pairs.values():
        sides = ((mean_s(policy), mean_s(oracle)) for policy, oracle in pairs_of_seed)
        logs = [np.log(policy / oracle) for policy, oracle in sides if policy and oracle]
        by_seed.append(float(np.exp(np.mean(logs))) if logs else None)
    return interval(by_seed)


def points_of_stages(cell: CellResult) -> list[LadderPoint]:
    """The ladder inside one cell: its stages of an offered rate."""
    return [
        _point(stage.offered_per_s, stage.figures) for stage in cell.stages if stage.offered_per_s
    ]


def points_of_cells(cells: Iterable[CellResult]) -> list[LadderPoint]:
    """The ladder of one policy's cells, by their rate or else their concurrency."""
    loads = ((cell.key.rate or cell.key.concurrency, cell.overall) for cell in cells)
    return [_point(load, figures) for load, figures in loads if load]


def _point(load: float, figures: Figures) -> LadderPoint:
    return LadderPoint(load, figures.success_share, figures.ttft.p90_s)


def knee(
    points: Iterable[LadderPoint],
    min_success_share: float = MIN_SUCCESS_SHARE,
    ttft_floor_s: float = TTFT_FLOOR_S,
    ttft_factor: float = TTFT_FACTOR,
    idle_ttft_p90_s: float | None = None,
) -> Knee | None:
    """The knee of a ladder; a load that was tried several times is sustained if it always was.

    None when there is no point. A point without any request, or without a first token, is not
    sustained.

    :param idle_ttft_p90_s: what the factor multiplies; None: the ladder's own at its lowest load,
        which says little where that is too much already.
    """
    ladder = sorted(points, key=lambda point: point.load)
    if not ladder:
        return None
    idle_s = lowest_ttft_p90_s(ladder) if idle_ttft_p90_s is None else idle_ttft_p90_s
    bound_s = max(ttft_floor_s, ttft_factor * (idle_s or 0.0))
    sustained = 0.0
    for load, tries in groupby(ladder, key=lambda point: point.load):
        if not all(_is_sustained(point, min_success_share, bound_s) for point in tries):
            return Knee(sustained, False)
        sustained = load
    return Knee(sustained, True)


def lowest_ttft_p90_s(points: Iterable[LadderPoint]) -> float | None:
    """Mean TTFT p90 at the lowest load of a ladder; None where no first token came."""
    known = [point for point in points if point.ttft_p90_s]
    lowest = min((point.load for point in known), default=0.0)
    at_lowest = [point.ttft_p90_s for point in known if point.load == lowest]
    return float(np.mean(at_lowest)) if at_lowest else None  # type: ignore[arg-type] # none is None


def _is_sustained(point: LadderPoint, min_success_share: float, ttft_bound_s: float) -> bool:
    return (
        point.success_share is not None
        and point.success_share >= min_success_share
        and point.ttft_p90_s is not None
        and point.ttft_p90_s <= ttft_bound_s
    )
