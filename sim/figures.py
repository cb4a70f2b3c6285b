"""What a set of requests amounts to: latencies, rates, goodput, and how right the router was.

Latencies, token sums and the router's errors are those of completed requests only: one that failed
or never ended counts in `failed`, `success_share` and `slo_share`. Latencies start when the request
was sent; what it waited at the client before that is `client_wait_s`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from sim.engine.layout import ITL_BINS, ITL_FIRST_EDGE_S, ITL_LAST_EDGE_S
from sim.request_log import Rows, Status

# Six decades in 512 bins: a bin is 2.7 % wide.
ITL_RATIO = (ITL_LAST_EDGE_S / ITL_FIRST_EDGE_S) ** (1 / ITL_BINS)

Counts = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_LEVELS = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Latency:
    """One latency over requests or tokens; all None when there is no sample."""

    mean_s: float | None = None
    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ItlHistogram:
    """Times between tokens, counted in bins of equal ratio.

    Bin `i` covers [ITL_FIRST_EDGE_S * ITL_RATIO**i, ITL_FIRST_EDGE_S * ITL_RATIO**(i + 1)); what
    lies outside all bins is in the nearest. Figures are right to the width of a bin.
    """

    counts: Counts

    @classmethod
    def of(cls, gaps_s: Float64s) -> Self:
        """The histogram of some times, all above zero."""
        bins = np.log(gaps_s / ITL_FIRST_EDGE_S) / np.log(ITL_RATIO)
        clipped = np.clip(bins.astype(np.int64), 0, ITL_BINS - 1)
        return cls(np.bincount(clipped, minlength=ITL_BINS).astype(np.int64))

    @property
    def latency(self) -> Latency:
        """Mean and percentiles."""
        total = int(self.counts.sum())
        if not total:
            return Latency()
        # The mean of a bin in which all log times are equally likely.
        middles = ITL_FIRST_EDGE_S * (ITL_RATIO - 1) / np.log(ITL_RATIO)
        mean = float(self.counts @ (middles * ITL_RATIO ** np.arange(ITL_BINS)) / total)
        return Latency(mean, *(self._quantile_s(level, total) for level in _LEVELS))

    def _quantile_s(self, level: float, total: int) -> float:
        upto = np.cumsum(self.counts)
        # The product can come out just above the whole number that it is.
        rank = level * total * (1 - 1e-12)
        at = int(np.searchsorted(upto, rank))
        inside = (rank - float(upto[at] - self.counts[at])) / float(self.counts[at])
        return float(ITL_FIRST_EDGE_S * ITL_RATIO ** (at + inside))


@dataclass(frozen=True, slots=True)
class Figures:
    """What some requests amount to; None where nothing can be said."""

    requests: int
    failed: int
    success_share: float | None
    duration_s: float
    requests_per_s: float
    """Completed ones."""
    output_tokens_per_s: float
    input_tokens_per_s: float
    ttft: Latency
    tpot: Latency
    """Over requests with two output tokens or more."""
    e2e: Latency
    ntpot: Latency
    """e2e per output token."""
    itl: Latency
    cached_token_share: float | None
    """Of the prompt tokens, the share that engines took from their caches."""
    cached_predicted_error_tokens: float | None
    """Mean absolute error of the router, a request."""
    ttft_prediction_mape: float | None
    """Mean of |predicted / actual - 1| where the first attempt served."""
    goodput_per_s: float
    """Requests that met their targets; without a target, all that completed."""
    slo_share: float | None
    waiting_mean: float | None
    """Depth of the engines' queues, as sampled."""
    running_mean: float | None
    """Requests in the engines' batches, as sampled."""
    client_wait_s: float | None
    """Mean time for which a request waited for the load generator's own bound."""


def figures(
    rows: Rows,
    itl_counts: Counts,
    *,
    waiting_mean: float | None,
    running_mean: float | None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Figures:
    """The figures of some rows, in any order.

    Rates are over [start_s, end_s], which are the first send and the last end unless given.

    :raises InvalidField: requests completed in no time.
    """
    done = rows[(rows["status"] == Status.COMPLETED) & ~np.isnan(rows["ended_s"])]
    duration_s = _duration_s(rows, start_s, end_s)
    if done.size and duration_s <= 0:
        raise InvalidField("end_s", "a time after start_s")
    per_s = 1 / duration_s if done.size else 0.0
    good = int(_met(done).sum())
    return Figures(
        requests=rows.size,
        failed=rows.size - done.size,
        success_share=_share(done.size, rows.size),
        duration_s=duration_s,
        requests_per_s=done.size * per_s,
        output_tokens_per_s=int(done["output_tokens"].sum()) * per_s,
        input_tokens_per_s=int(done["prompt_tokens"].sum()) * per_s,
        ttft=_latency(_ttft_s(done)),
        tpot=_latency(_tpot_s(done)),
        e2e=_latency(_e2e_s(done)),
        ntpot=_latency(_ntpot_s(done)),
        itl=ItlHistogram(itl_counts).latency,
        cached_token_share=_cached_share(done),
        cached_predicted_error_tokens=_cached_error_tokens(done),
        ttft_prediction_mape=_ttft_mape(done),
        goodput_per_s=good * per_s,
        slo_share=_share(good, rows.size),
        waiting_mean=waiting_mean,
        running_mean=running_mean,
        client_wait_s=_mean(rows["sent_s"] - rows["arrived_s"]),
    )


def _duration_s(rows: Rows, start_s: float | None, end_s: float | None) -> float:
    if start_s is None:
        start_s = float(rows["sent_s"].min()) if rows.size else 0.0
    if end_s is None:
        ended = rows["ended_s"][~np.isnan(rows["ended_s"])]
        end_s = float(ended.max()) if ended.size else start_s
    return end_s - start_s


def _ttft_s(done: Rows) -> Float64s:
    return np.asarray(done["first_token_s"] - done["sent_s"])


def _e2e_s(done: Rows) -> Float64s:
    return np.asarray(done["ended_s"] - done["sent_s"])


def _tpot_s(done: Rows) -> Float64s:
    """NaN for requests of one output token."""
    steps = np.where(done["output_tokens"] >= 2, done["output_tokens"] - 1.0, np.nan)
    return np.asarray((done["ended_s"] - done["first_token_s"]) / steps)


def _ntpot_s(done: Rows) -> Float64s:
    tokens = np.where(done["output_tokens"] >= 1, done["output_tokens"], np.nan)
    return np.asarray(_e2e_s(done) / tokens)


def _met(done: Rows) -> npt.NDArray[np.bool_]:
    """Which met their targets: a missed one is a latency above it, so NaN misses nothing."""
    missed_ttft = _ttft_s(done) * 1000 > done["slo_ttft_ms"]
    missed_tpot = _tpot_s(done) * 1000 > done["slo_tpot_ms"]
    return np.asarray(~(missed_ttft | missed_tpot))


def _cached_share(done: Rows) -> float | None:
    return _share(int(done["cached_tokens"].sum()), int(done["prompt_tokens"].sum()))


def _cached_error_tokens(done: Rows) -> float | None:
    return _mean(np.abs(done["cached_predicted_tokens"] - done["cached_tokens"]).astype(np.float64))


def _ttft_mape(done: Rows) -> float | None:
    # A prediction is from the last dispatch on, which is the send only of a first attempt; a
    # policy that predicts nothing leaves NaN or 0.
    known = done[(done["attempts"] <= 1) & (done["ttft_predicted_s"] > 0) & (_ttft_s(done) > 0)]
    return _mean(np.abs(known["ttft_predicted_s"] / _ttft_s(known) - 1))


def _latency(samples_s: Float64s) -> Latency:
    known = samples_s[~np.isnan(samples_s)]
    if not known.size:
        return Latency()
    p50, p90, p99 = np.quantile(known, _LEVELS).tolist()
    return Latency(float(known.mean()), p50, p90, p99)


def _mean(samples: Float64s) -> float | None:
    return float(samples.mean()) if samples.size else None


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
