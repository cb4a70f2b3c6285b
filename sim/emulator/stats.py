"""What one pod has done since its start, and the `/metrics` page that says so."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sim.emulator.histogram import Histogram

_TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0),
    *(7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_TOKEN_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0),
)
_E2E_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_LENGTH_BOUNDS_TOKENS = (
    *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0),
    *(10_000.0, 20_000.0, 50_000.0, 100_000.0),
)
_FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")


@dataclass(slots=True)
class Stats:
    """Counters and histograms of one pod; times are seconds of the wall clock."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    cached_tokens: Counter[str] = field(default_factory=Counter)
    """By the tier that supplied them."""
    finished: Counter[str] = field(default_factory=Counter)
    preemptions: int = 0
    """Of requests that have ended."""
    ttft_s: Histogram = field(default_factory=lambda: Histogram(_TTFT_BOUNDS_S))
    itl_s: Histogram = field(default_factory=lambda: Histogram(_TOKEN_BOUNDS_S))
    tpot_s: Histogram = field(default_factory=lambda: Histogram(_TOKEN_BOUNDS_S))
    e2e_s: Histogram = field(default_factory=lambda: Histogram(_E2E_BOUNDS_S))
    prompt_lengths: Histogram = field(default_factory=lambda: Histogram(_LENGTH_BOUNDS_TOKENS))
    output_lengths: Histogram = field(default_factory=lambda: Histogram(_LENGTH_BOUNDS_TOKENS))


@dataclass(frozen=True, slots=True)
class Now:
    """What is the case at the moment."""

    running: int
    waiting: int
    kv_usage_ratio: float
    preemptions: int
    """Of the requests in flight."""
    process_start_unix_s: float
    block_tokens: int
    kv_blocks: int
    """With the one that vLLM never fills."""


def page(stats: Stats, now: Now, model: str) -> bytes:
    """The Prometheus page, with vLLM's names and labels."""
    return ("\n".join(_lines(stats, now, model)) + "\n").encode()


def _lines(stats: Stats, now: Now, model: str) -> Iterator[str]:
    escaped = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    engine, name = 'engine="0"', f'model_name="{escaped}"'
    yield from _gauges(now, engine, name)
    yield from _counters(stats, now, engine, name)
    for metric, histogram, text in (
        ("time_to_first_token_seconds", stats.ttft_s, "TTFT."),
        ("inter_token_latency_seconds", stats.itl_s, "Time between output tokens."),
        ("request_time_per_output_token_seconds", stats.tpot_s, "TPOT of a request."),
        ("e2e_request_latency_seconds", stats.e2e_s, "Arrival to last token."),
        ("request_prompt_tokens", stats.prompt_lengths, "Length of prompts."),
        ("request_generation_tokens", stats.output_lengths, "Length of answers."),
    ):
        yield from _family(f"vllm:{metric}", "histogram", text)
        yield from histogram.lines(f"vllm:{metric}", engine, name)


def _gauges(now: Now, engine: str, name: str) -> Iterator[str]:
    yield from _family("process_start_time_seconds", "gauge", "Start of the process.")
    yield f"process_start_time_seconds {now.process_start_unix_s}"
    for metric, value, text in (
        ("num_requests_running", now.running, "Requests in the batch of the engine."),
        ("num_requests_waiting", now.waiting, "Requests that wait to be let in."),
        ("kv_cache_usage_perc", now.kv_usage_ratio, "Used share of the KV cache, 0 to 1."),
    ):
        yield from _family(f"vllm:{metric}", "gauge", text)
        yield f"vllm:{metric}{{{engine},{name}}} {float(value)}"
    yield from _family("vllm:cache_config_info", "gauge", "The engine's cache.")
    yield (
        f'vllm:cache_config_info{{block_size="{now.block_tokens}",enable_prefix_caching="True",'
        f'{engine},num_gpu_blocks="{now.kv_blocks}"}} 1.0'
    )


def _counters(stats: Stats, now: Now, engine: str, name: str) -> Iterator[str]:
    for metric, count, text in (
        ("prefix_cache_queries", stats.prompt_tokens, "Tokens looked up in the prefix cache."),
        ("prefix_cache_hits", stats.cached_tokens["device"], "Tokens found in it."),
        ("num_preemptions", stats.preemptions + now.preemptions, "Preempted requests."),
        ("prompt_tokens", stats.prompt_tokens, "Prompt tokens."),
        ("generation_tokens", stats.generation_tokens, "Output tokens."),
    ):
        yield from _family(f"vllm:{metric}_total", "counter", text)
        yield f"vllm:{metric}_total{{{engine},{name}}} {float(count)}"
    metric = "vllm:prompt_tokens_cached_by_source_total"
    yield from _family(metric, "counter", "Tokens found in a cache, by tier.")
    for source in ("device", "host", "p2p", "disk", "external_unspecified"):
        count = stats.cached_tokens[source]
        yield f'{metric}{{{engine},{name},source="{source}"}} {float(count)}'
    metric = "vllm:request_success_total"
    yield from _family(metric, "counter", "Requests that have ended.")
    for why in _FINISHED_REASONS:
        yield f'{metric}{{{engine},finished_reason="{why}",{name}}} {float(stats.finished[why])}'


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
