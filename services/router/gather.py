"""What is known of each endpoint now, as candidates and as features."""

import numpy as np

from farsight.latency.features import FeatureColumns, FeatureMatrix
from services.router.candidates import Candidates, Floats
from services.router.fleet import EngineLoads
from services.router.load_table import InFlight
from services.router.prefixes import Prefixes
from services.router.roster import Roster

# Beyond this, how old a load report is makes no difference to a latency model.
MAX_LOAD_AGE_MS = 60_000


def candidates(
    roster: Roster,
    prompt_tokens: int,
    prefixes: Prefixes,
    loads: EngineLoads,
    in_flight: InFlight,
    prefill_ms_per_token: Floats,
) -> Candidates:
    """The candidates of a decision; predictions are still NaN."""
    unknown = np.full(len(roster), np.nan)
    return Candidates(
        endpoint_ids=roster.endpoint_ids,
        block_size_tokens=roster.block_size_tokens,
        device_tokens=prefixes.device_tokens,
        host_tokens=prefixes.host_tokens,
        storage_tokens=prefixes.storage_tokens,
        cached_tokens=prefixes.cached_tokens,
        speculative_tokens=prefixes.speculative_tokens,
        uncached_tokens=prompt_tokens - prefixes.cached_tokens,
        confidence=prefixes.confidence,
        index_age_ms=prefixes.age_ms,
        load_age_ms=loads.age_ms,
        waiting_requests=loads.waiting_requests,
        running_requests=loads.running_requests,
        kv_usage_ratio=loads.kv_usage_ratio,
        in_flight_requests=in_flight.requests,
        in_flight_decoding=in_flight.decoding,
        in_flight_prefill_tokens=in_flight.prefill_tokens,
        in_flight_context_tokens=in_flight.context_tokens,
        inhibited=loads.inhibited,
        prefill_ms_per_token=prefill_ms_per_token,
        ttft_q50_ms=unknown,
        ttft_q90_ms=unknown,
        tpot_q50_ms=unknown,
        tpot_q90_ms=unknown,
    )


def features(seen: Candidates, prompt_tokens: int, expected_output_tokens: float) -> FeatureMatrix:
    """The feature matrix of the candidates."""
    beyond_device = np.maximum(seen.cached_tokens - seen.device_tokens, 0)
    host = np.minimum(seen.host_tokens, beyond_device)
    return FeatureColumns(
        prompt_tokens=prompt_tokens,
        uncached_tokens=seen.uncached_tokens,
        host_tokens=host,
        storage_tokens=np.minimum(seen.storage_tokens, beyond_device - host),
        prefill_ahead_tokens=seen.in_flight_prefill_tokens,
        running_requests=seen.decoding,
        resident_tokens=seen.in_flight_context_tokens,
        waiting_requests=seen.waiting_requests,
        kv_usage_ratio=seen.kv_usage_ratio,
        load_age_ms=np.minimum(seen.load_age_ms, MAX_LOAD_AGE_MS),
        expected_output_tokens=expected_output_tokens,
        block_size_tokens=seen.block_size_tokens,
    ).matrix(len(seen))
