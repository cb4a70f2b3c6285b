"""Samples of a made-up fleet whose latency is known: analytic rates times effects they lack."""

import numpy as np

from farsight.latency import analytic
from farsight.latency.analytic import AnalyticRates, Float64s, TpotRates, TtftRates
from farsight.latency.features import SCHEMA_HASH, Feature, FeatureColumns, FeatureMatrix
from farsight.latency.training_set import TrainingSet
from farsight.pb.events_pb2 import Sample

TRUE_RATES = AnalyticRates(
    TtftRates(12.0, 0.06, 2e-6, 0.02, 0.1, 0.3),
    TpotRates(9.0, 0.1, 4e-5),
)
FIRST_UNIX_MS = 1_700_000_000_000


def requests(count: int, seed: int, longest_prompt: int = 8000) -> FeatureMatrix:
    """Feature rows of random requests, prompts of 100 to `longest_prompt` tokens."""
    rng = np.random.default_rng(seed)
    prompt = np.exp(rng.uniform(np.log(100), np.log(longest_prompt), count))
    cached = prompt * rng.uniform(0, 1, count) * (rng.random(count) < 0.6)
    return FeatureColumns(
        prompt_tokens=prompt,
        uncached_tokens=prompt - cached,
        host_tokens=cached * (rng.random(count) < 0.2),
        storage_tokens=0.0,
        prefill_ahead_tokens=rng.exponential(3000, count) * (rng.random(count) < 0.5),
        running_requests=rng.integers(0, 64, count),
        resident_tokens=rng.uniform(0, 2e5, count),
        waiting_requests=rng.integers(0, 5, count),
        kv_usage_ratio=rng.uniform(0, 1, count),
        load_age_ms=rng.uniform(0, 300, count),
        expected_output_tokens=256.0,
        block_size_tokens=16.0,
    ).matrix(count)


def medians_ms(matrix: FeatureMatrix) -> tuple[Float64s, Float64s]:
    """True median TTFT and TPOT of rows: a full KV cache and a queue slow an endpoint down."""
    kv_usage = matrix[:, Feature.KV_USAGE_RATIO]
    ttft_factor = 1 + 0.3 * (kv_usage > 0.8) + 0.08 * matrix[:, Feature.WAITING_REQUESTS]
    tpot_factor = 1 + 0.4 * (kv_usage > 0.9)
    ttft_ms = analytic.ttft_ms(matrix, TRUE_RATES.ttft) * ttft_factor
    return ttft_ms, analytic.tpot_ms(matrix, TRUE_RATES.tpot) * tpot_factor


def samples(
    count: int, seed: int, longest_prompt: int = 8000, noise: float = 0.1, slowdown: float = 1.0
) -> TrainingSet:
    """Finished requests with log-normal noise; `slowdown` multiplies every latency."""
    rng = np.random.default_rng(seed + 1_000_000)
    matrix = requests(count, seed, longest_prompt)
    ttft_ms, tpot_ms = medians_ms(matrix)
    return TrainingSet(
        matrix,
        slowdown * ttft_ms * np.exp(rng.normal(0, noise, count)),
        slowdown * tpot_ms * np.exp(rng.normal(0, noise, count)),
    )


def messages(training_set: TrainingSet, model: str, first: int = 0) -> list[Sample]:
    """The samples as a router sends them, one a second; `first` numbers the oldest."""
    rows = zip(training_set.features, training_set.ttft_ms, training_set.tpot_ms, strict=True)
    return [
        Sample(
            decision_id=f"decision-{number}",
            request_id=f"request-{number}",
            model=model,
            accelerator="cpu",
            schema_hash=SCHEMA_HASH,
            features=features.tobytes(),
            outcome=Sample.OUTCOME_COMPLETED,
            ttft_ms=ttft_ms,
            tpot_ms=tpot_ms,
            output_tokens=64,
            decided_unix_ms=FIRST_UNIX_MS + 1000 * number,
        )
        for number, (features, ttft_ms, tpot_ms) in enumerate(rows, first)
    ]
