"""How large each figure's work is, and how often it is repeated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Blocks are canonical blocks, seconds are wall time."""

    distinct_blocks: int
    """Of the table's workload."""
    endpoints: int
    repetitions: int
    prompts: int
    """That are matched, each held in part by every endpoint."""
    prompt_blocks: int
    matches: int
    """Match calls a repetition."""
    many_background_blocks: int
    many_prompts: int
    many_prompt_blocks: int
    many_endpoints: int
    many_matches: int
    nats_blocks: int
    sidecar_batches: int
    latency_s: float
    """Of one stretch at LATENCY_BLOCKS_PER_S, in each of the repetitions."""
    rpc_s: float
    """Of one stretch of calls."""
    recovery_blocks: int
    """Sum over the endpoints' snapshots."""


FULL = Sizes(
    distinct_blocks=5_000_000,
    endpoints=64,
    repetitions=5,
    prompts=256,
    prompt_blocks=450,
    matches=2_000,
    many_background_blocks=1_000_000,
    many_prompts=16,
    many_prompt_blocks=8_192,
    many_endpoints=1_000,
    many_matches=50,
    nats_blocks=4_000_000,
    sidecar_batches=8_000,
    latency_s=6.0,
    rpc_s=3.0,
    recovery_blocks=10_000_000,
)
QUICK = Sizes(
    distinct_blocks=20_000,
    endpoints=8,
    repetitions=1,
    prompts=4,
    prompt_blocks=60,
    matches=20,
    many_background_blocks=2_000,
    many_prompts=2,
    many_prompt_blocks=100,
    many_endpoints=70,
    many_matches=5,
    nats_blocks=20_000,
    sidecar_batches=30,
    latency_s=0.5,
    rpc_s=0.2,
    recovery_blocks=20_000,
)
