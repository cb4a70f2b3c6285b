"""Cells with plausible figures, made from a few numbers instead of a simulation."""

from sim.cells import CellKey, CellResult, Cost, StageFigures
from sim.figures import Figures, Latency

IDLE_TTFT_S = 0.2


def latency(mean_s: float) -> Latency:
    """A latency with a tail that grows with its mean."""
    return Latency(mean_s, 0.8 * mean_s, 2.0 * mean_s, 3.0 * mean_s)


def figures(
    ttft_mean_s: float = IDLE_TTFT_S, per_s: float = 10.0, success_share: float | None = 1.0
) -> Figures:
    """Figures of 1,000 requests of 1,000 prompt and 100 output tokens."""
    requests_per_s = per_s * (success_share or 0.0)
    e2e_s = ttft_mean_s + 2.0
    return Figures(
        requests=1000,
        failed=round(1000 * (1 - (success_share or 0.0))),
        success_share=success_share,
        duration_s=1000 / per_s,
        requests_per_s=requests_per_s,
        output_tokens_per_s=100 * requests_per_s,
        input_tokens_per_s=1000 * requests_per_s,
        ttft=latency(ttft_mean_s),
        tpot=latency(0.02),
        e2e=latency(e2e_s),
        ntpot=latency(e2e_s / 100),
        itl=latency(0.02),
        cached_token_share=1 / (1 + ttft_mean_s),
        cached_predicted_error_tokens=12.0,
        ttft_prediction_mape=None,
        goodput_per_s=requests_per_s / (1 + ttft_mean_s),
        slo_share=1 / (1 + ttft_mean_s),
        waiting_mean=10 * ttft_mean_s,
        running_mean=40.0,
        client_wait_s=0.0,
    )


def cell(
    policy: str = "least-requests",
    *,
    seed: int = 1,
    rate: float | None = 10.0,
    concurrency: int | None = None,
    workload: str = "b2b-saas",
    pods: int = 8,
    settings: tuple[tuple[str, str], ...] = (),
    overall: Figures | None = None,
    stages: tuple[StageFigures, ...] = (),
) -> CellResult:
    """A finished cell."""
    return CellResult(
        key=CellKey(workload, policy, pods, rate, concurrency, seed, settings),
        overall=overall or figures(per_s=rate or 10.0),
        stages=stages,
        virtual_s=100.0,
        decisions=1000,
        cost=Cost(wall_s=2.5, peak_rss_mb=300.0),
    )


def ladder_cell(
    policy: str, seed: int, ttfts_s: dict[float, float], workload: str = "b2b-saas"
) -> CellResult:
    """A cell whose stages offer the given rates and have the given mean TTFTs."""
    stages = tuple(
        StageFigures(f"{rate:g}/s", rate, figures(ttft_s, per_s=rate or 10.0))
        for rate, ttft_s in ttfts_s.items()
    )
    mean_s = sum(ttfts_s.values()) / len(ttfts_s)
    overall = figures(mean_s, per_s=sum(ttfts_s) / len(ttfts_s) or 10.0)
    return cell(policy, seed=seed, rate=None, workload=workload, overall=overall, stages=stages)
