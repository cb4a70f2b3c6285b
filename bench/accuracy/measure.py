"""Multi-turn traffic on pods that evict, then one request at a time: foretold and actual tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import numpy as np

from farsight.demo.figures import exact_share
from farsight.demo.phases import run_phase, run_probes
from farsight.demo.senders import GatewaySender, Sent
from farsight.demo.workload import WorkloadSpec
from farsight.local.engine import SERVED_MODEL
from farsight.local.fleet import Fleet, FleetSpec
from farsight.local.programs import model_dir

# The CPU attention of vLLM takes multiples of 32. A pod holds 16,000 tokens; the traffic has
# twenty times as many, and eight requests of at most 1,600 tokens always fit.
FLEET = FleetSpec(
    engines=3,
    model=model_dir("tiny"),
    block_tokens=(32, 64, 128),
    kv_blocks=500,
    max_model_tokens=2048,
    trainers=0,
    predictors=0,
    flags={"router": ("--index-budget-ms", "500", "--predictor-budget-ms", "500")},
)
TRAFFIC = WorkloadSpec(
    groups=10, users_per_group=20, turns=5, system_words=300, output_tokens=12, seed=21
)
PROBES = WorkloadSpec(
    groups=10, users_per_group=5, turns=4, system_words=300, output_tokens=6, seed=22
)
CONCURRENCY = 8
PROFILE = "predicted"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Figures over all pods; errors are predicted minus actual cached tokens."""

    requests: int
    failed: int
    mean_absolute_error_tokens: float
    """Under load."""
    mean_error_tokens: float
    """Under load; above 0 the index promised too much."""
    mean_cached_tokens: float
    """Under load, as the engines reported."""
    settled_probes: int
    exact_share: float
    """Of the settled probes, those whose cached tokens were foretold exactly."""


async def measure(
    fleet: Fleet, traffic: WorkloadSpec, probes: WorkloadSpec, on_sent: Callable[[Sent], None]
) -> Accuracy:
    """Run both parts through the gateway; the pods' endpoints must be EXACT already."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as http:
        gateway = GatewaySender(http, fleet.gateway_url, SERVED_MODEL)
        loaded = await run_phase(traffic, PROFILE, [gateway], CONCURRENCY, on_sent)
        alone = await run_probes(probes, (PROFILE, "round-robin"), gateway, on_sent)
    share, settled = exact_share(alone)
    good = [s for s in loaded if not s.failed]
    errors = np.array([s.cached_tokens_predicted - s.cached_tokens for s in good])
    return Accuracy(
        requests=len(loaded),
        failed=len(loaded) - len(good) + sum(bool(s.failed) for s in alone),
        mean_absolute_error_tokens=float(np.abs(errors).mean()),
        mean_error_tokens=float(errors.mean()),
        mean_cached_tokens=float(np.mean([s.cached_tokens for s in good])),
        settled_probes=settled,
        exact_share=share,
    )
