"""Figures of hand-made requests, and what holds for any."""

from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from farsight.errors import InvalidField
from sim.engine.layout import ITL_BINS, ITL_FIRST_EDGE_S
from sim.figures import ITL_RATIO, Figures, ItlHistogram, Latency
from sim.figures import figures as figures_of
from sim.request_log import ROW, Rows, Status

NO_ITL = np.zeros(ITL_BINS, np.int64)
NAN = float("nan")


def request(sent_s: float, first_token_s: float, ended_s: float, **fields: Any) -> Rows:
    """One row; what is not given is that of a request that served and has no target."""
    row = np.zeros(1, ROW)
    known = {"arrived_s": sent_s, "attempts": 1, "slo_ttft_ms": NAN, "slo_tpot_ms": NAN} | fields
    known |= {"sent_s": sent_s, "first_token_s": first_token_s, "ended_s": ended_s}
    for name, value in known.items():
        row[name] = value
    return row


def of(*requests: Rows) -> Figures:
    """Their figures, without gauges."""
    rows = np.concatenate([np.zeros(0, ROW), *requests])
    return figures_of(rows, NO_ITL, waiting_mean=None, running_mean=None)


def three() -> tuple[Rows, Rows, Rows]:
    """Two that completed and one that failed, within 10 s."""
    return (
        request(
            *(10.0, 11.0, 15.0),
            arrived_s=9.4,
            prompt_tokens=1000,
            output_tokens=5,
            cached_tokens=400,
            cached_predicted_tokens=500,
            ttft_predicted_s=1.5,
            slo_ttft_ms=1000,
            slo_tpot_ms=1000,
        ),
        request(
            *(12.0, 15.0, 20.0),
            prompt_tokens=3000,
            output_tokens=1,
            cached_tokens=600,
            cached_predicted_tokens=560,
            ttft_predicted_s=1.5,
            slo_ttft_ms=2000,
        ),
        request(*(13.0, NAN, 14.0), prompt_tokens=7000, status=Status.FAILED, endpoint=-1),
    )


def test_rates_count_completed_requests_over_the_whole_time() -> None:
    """From the first send to the last end: 6 tokens and 2 requests in 10 s."""
    figures = of(*three())

    assert (figures.requests, figures.failed, figures.success_share) == (3, 1, 2 / 3)
    assert figures.duration_s == 10
    assert figures.requests_per_s == pytest.approx(0.2)
    assert figures.output_tokens_per_s == pytest.approx(0.6)
    assert figures.input_tokens_per_s == pytest.approx(400)


def test_latencies_are_those_of_the_client() -> None:
    """TTFT 1 and 3 s, e2e 5 and 8 s; only the first has a second token: (15 - 11) / 4."""
    figures = of(*three())

    assert astuple(figures.ttft) == pytest.approx((2.0, 2.0, 2.8, 2.98))
    assert astuple(figures.e2e) == pytest.approx((6.5, 6.5, 7.7, 7.97))
    assert astuple(figures.tpot) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert astuple(figures.ntpot) == pytest.approx((4.5, 4.5, 7.3, 7.93))
    assert figures.client_wait_s == pytest.approx(0.2)


def test_the_router_is_judged_by_what_completed() -> None:
    """1,000 of 4,000 tokens cached, wrong by 100 and 40; TTFT predicted 1.5 for 1 and for 3 s."""
    figures = of(*three())

    assert figures.cached_token_share == 0.25
    assert figures.cached_predicted_error_tokens == 70
    assert figures.ttft_prediction_mape == pytest.approx(0.5)


def test_goodput_counts_what_met_every_target() -> None:
    """Of the three, one met both, one was late, one failed."""
    figures = of(*three())

    assert figures.goodput_per_s == pytest.approx(0.1)
    assert figures.slo_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("targets", "is_met"),
    [
        ({}, True),
        ({"slo_ttft_ms": 1000}, True),
        ({"slo_ttft_ms": 999}, False),
        ({"slo_tpot_ms": 500}, True),
        ({"slo_tpot_ms": 499}, False),
        ({"slo_ttft_ms": 1000, "slo_tpot_ms": 499}, False),
        ({"status": Status.FAILED}, False),
        ({"slo_tpot_ms": 1, "output_tokens": 1}, True),
    ],
)
def test_a_target_is_met_when_nothing_misses_it(targets: dict[str, float], is_met: bool) -> None:
    """NaN is no target, one token has no TPOT to miss, and equal is in time."""
    row = request(0.0, 1.0, 2.0, **({"output_tokens": 3} | targets))

    assert of(row).slo_share == is_met


@pytest.mark.parametrize(
    "fields",
    [{"ttft_predicted_s": NAN}, {"ttft_predicted_s": 0}, {"ttft_predicted_s": 3, "attempts": 2}],
)
def test_a_prediction_of_another_time_has_no_error(fields: dict[str, float]) -> None:
    """NaN and 0 are none, and one for a retry began later than the request."""
    row = request(0.0, 1.0, 2.0, ttft_predicted_s=3.0)

    assert of(row).ttft_prediction_mape == pytest.approx(2.0)
    assert of(request(0.0, 1.0, 2.0, **fields)).ttft_prediction_mape is None


def test_nothing_is_said_of_no_request() -> None:
    """Rates are 0, and what has no sample is None."""
    figures = of()

    assert (figures.requests, figures.duration_s, figures.output_tokens_per_s) == (0, 0, 0)
    assert figures.success_share is figures.slo_share is figures.cached_token_share is None
    assert figures.ttft == figures.itl == Latency()


def test_a_refused_request_takes_no_time() -> None:
    """One failure in an instant is no division by zero."""
    figures = of(request(3.0, NAN, 3.0, status=Status.FAILED))

    assert (figures.failed, figures.requests_per_s, figures.duration_s) == (1, 0, 0)


def test_a_request_that_never_ended_has_failed() -> None:
    """As when its pod hung until the simulation was over; it does not stretch the time."""
    figures = of(*three(), request(14.0, 15.0, NAN, output_tokens=3))

    assert (figures.requests, figures.failed, figures.duration_s) == (4, 2, 10)
    assert of(request(14.0, NAN, NAN)).duration_s == 0


def test_the_time_can_be_given() -> None:
    """As for a stage that has an end of its own; an end before its start is refused."""
    rows = np.concatenate(three())

    given = figures_of(rows, NO_ITL, waiting_mean=3.0, running_mean=7.0, start_s=10.0, end_s=30.0)

    assert given.duration_s == 20
    assert given.requests_per_s == pytest.approx(0.1)
    assert (given.waiting_mean, given.running_mean) == (3, 7)
    with pytest.raises(InvalidField, match="end_s"):
        figures_of(rows, NO_ITL, waiting_mean=None, running_mean=None, end_s=10.0)


def test_itl_comes_from_its_bins() -> None:
    """Nine times in bin 100 and one in bin 300."""
    counts = NO_ITL.copy()
    counts[100], counts[300] = 9, 1

    figures = figures_of(np.concatenate(three()), counts, waiting_mean=None, running_mean=None)

    assert figures.itl.p50_s == pytest.approx(ITL_FIRST_EDGE_S * ITL_RATIO ** (100 + 5 / 9))
    assert figures.itl.p90_s == pytest.approx(ITL_FIRST_EDGE_S * ITL_RATIO**101)
    assert figures.itl.p99_s == pytest.approx(ITL_FIRST_EDGE_S * ITL_RATIO**300.9)
    inside = ITL_RATIO**0.5
    mean = ITL_FIRST_EDGE_S * inside * (0.9 * ITL_RATIO**100 + 0.1 * ITL_RATIO**300)
    assert figures.itl.mean_s == pytest.approx(mean, rel=1e-3)


def test_bins_reach_from_a_tenth_of_a_millisecond_to_a_hundred_seconds() -> None:
    """What lies outside is in the nearest bin."""
    last_edge_s = ITL_FIRST_EDGE_S * ITL_RATIO**ITL_BINS

    counts = ItlHistogram.of(np.array([1e-9, 1.01e-4, 99.9, 1e6])).counts

    assert last_edge_s == pytest.approx(100)
    assert (counts[0], counts[-1], counts.sum()) == (2, 2, 4)


gaps = hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(1.1e-4, 90.0))


@given(gaps)
def test_a_histogram_is_right_to_a_bin(gaps_s: npt.NDArray[np.float64]) -> None:
    """Its mean and percentiles are those of the samples within a bin's width."""
    latency = ItlHistogram.of(gaps_s).latency

    width = ITL_RATIO * (1 + 1e-9)
    assert latency.mean_s is not None
    assert 1 / width <= latency.mean_s / gaps_s.mean() <= width
    for quantile, level in ((latency.p50_s, 0.5), (latency.p90_s, 0.9), (latency.p99_s, 0.99)):
        assert quantile is not None
        rank = np.quantile(gaps_s, level, method="inverted_cdf")
        assert 1 / width <= quantile / rank <= width


rows_of_any_kind = st.lists(
    st.builds(
        lambda sent_s, ttft_s, rest_s, output_tokens, status, slo_ms: request(
            sent_s,
            sent_s + ttft_s,
            sent_s + ttft_s + rest_s,
            output_tokens=output_tokens,
            prompt_tokens=output_tokens * 3,
            cached_tokens=output_tokens,
            status=status,
            slo_ttft_ms=slo_ms,
        ),
        st.floats(0, 100),
        st.floats(1e-3, 50),
        st.floats(0, 50),
        st.integers(1, 500),
        st.sampled_from(Status),
        st.sampled_from([NAN, 1.0, 10_000.0]),
    ),
    min_size=1,
    max_size=20,
)


@given(rows_of_any_kind, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Rows], random: Any) -> None:
    """Not beyond the rounding of sums."""
    shuffled = random.sample(rows, len(rows))

    first, second = asdict(of(*rows)), asdict(of(*shuffled))

    for name, value in first.items():
        assert second[name] == pytest.approx(value, nan_ok=False), name


@given(rows_of_any_kind)
def test_figures_agree_with_each_other(rows: list[Rows]) -> None:
    """Percentiles rise, and good requests are completed ones."""
    figures = of(*rows)

    assert figures.requests == len(rows)
    assert figures.success_share is not None
    assert figures.slo_share is not None
    assert 0 <= figures.slo_share <= figures.success_share <= 1
    assert figures.goodput_per_s <= figures.requests_per_s
    for latency in (figures.ttft, figures.tpot, figures.e2e, figures.ntpot):
        known = [p for p in (latency.p50_s, latency.p90_s, latency.p99_s) if p is not None]
        assert known == sorted(known)
    if figures.ttft.p50_s is not None:
        assert figures.e2e.p50_s is not None
        assert figures.ttft.p50_s <= figures.e2e.p50_s
