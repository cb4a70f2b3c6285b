"""The published order of the b2b-saas policies, on the ladder's last stage."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from sim.figures import Figures
from sim.hardware import hardware
from sim.policy import load_policy
from sim.simulation import Setup, Simulation
from sim.validation.published import ENVIRONMENT, HARDWARE, OUTPUT_TOKENS, PODS, PUBLISHED
from sim.workload import Knobs
from sim.workloads.b2b_saas import B2bSaas

pytestmark = pytest.mark.timeout(300)


def last_stage(policy: str) -> Figures:
    """60 requests/s for 25 s, after the warm-up."""
    workload = replace(B2bSaas(), output_tokens=OUTPUT_TOKENS)
    setup = Setup((hardware(HARDWARE),) * PODS, None, load_policy(policy), ENVIRONMENT, seed=1)
    knobs = Knobs(pods=PODS, rate_per_s=60, duration_s=25)
    offered = workload.offered(knobs, np.random.default_rng(1))
    return asyncio.run(Simulation(setup, offered).run()).overall


def test_policies_stand_in_the_published_order() -> None:
    """Precise before approximate before load and random, in throughput and in TTFT."""
    made = {policy: last_stage(policy) for policy in PUBLISHED}

    throughput = {policy: f.output_tokens_per_s for policy, f in made.items()}
    ttft_p90_s = {policy: f.ttft.p90_s or 0.0 for policy, f in made.items()}
    precise, approximate, random, load = PUBLISHED

    assert throughput[precise] > 1.1 * throughput[approximate]
    assert throughput[approximate] > 1.3 * throughput[load]
    assert throughput[load] == pytest.approx(throughput[random], rel=0.1)
    assert ttft_p90_s[precise] < 1 < ttft_p90_s[approximate] < ttft_p90_s[load]
