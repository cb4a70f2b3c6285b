"""The published b2b-saas runs again, in the simulator.

Constants are those of `sim/VALIDATION.md`; none is fitted to the table that this is compared with.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sim.environment import Environment
from sim.hardware import hardware
from sim.policy import load_policy
from sim.simulation import Outcome, Setup, Simulation
from sim.workload import Knobs
from sim.workloads.b2b_saas import B2bSaas

HARDWARE = "qwen3-32b-2xh100"
PODS = 8
# Mean of the precise policy's output tokens/s over requests/s at 3, 10, 15 and 20 requests/s: the
# rates at which a stage ends about when its sending does, so that the quotient is a length.
OUTPUT_TOKENS = 425
# The same post: 0.6 s to the first token of a cached prompt of about 10,000 tokens.
ENVIRONMENT = Environment(prompt_overhead_s_per_token=6e-5)


@dataclass(frozen=True, slots=True)
class Published:
    """One row of the table's overall figures."""

    output_tokens_per_s: float
    ttft_p90_s: float


PUBLISHED: Mapping[str, Published] = {
    "precise-prefix": Published(8730.0, 0.542),
    "approximate-prefix": Published(6944.4, 31.083),
    "random": Published(4428.7, 92.551),
    "load": Published(4266.4, 94.865),
}


def run_b2b(policy: str, seed: int = 1) -> Outcome:
    """The whole published ladder under one policy."""
    workload = replace(B2bSaas(), output_tokens=OUTPUT_TOKENS)
    setup = Setup((hardware(HARDWARE),) * PODS, None, load_policy(policy), ENVIRONMENT, seed)
    offered = workload.offered(Knobs(pods=PODS), np.random.default_rng(seed))
    return asyncio.run(Simulation(setup, offered).run())
