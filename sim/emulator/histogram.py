"""A Prometheus histogram without a registry: counts by bucket, and the page's lines of them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """Counts of observations up to each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def lines(self, name: str, engine: str, model: str) -> Iterator[str]:
        """Samples in the order of vLLM's page; both labels come as `name="value"`."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{engine},le="{bound}",{model}}} {float(total)}'
        yield f"{name}_count{{{engine},{model}}} {float(total)}"
        yield f"{name}_sum{{{engine},{model}}} {self._sum}"
