"""Analytic rates to start from, by accelerator label.

`h100` is Qwen3-32B on two H100 (20,480 prefill tokens/s over an 8,192-token chunk, 11 ms per output
token at light load and 29 ms with the KV cache full); `default` is four times slower; `cpu` is the
demo's model on one core (TTFT 73, 240 and 650 ms for 500, 1,500 and 3,000 uncached tokens).
"""

from farsight.latency.analytic import AnalyticRates, TpotRates, TtftRates

_H100 = AnalyticRates(
    TtftRates(
        ttft_base_ms=20.0,
        prefill_ms_per_token=0.0425,
        attention_ms_per_token_squared=1.5e-6,
        host_load_ms_per_token=0.015,
        storage_load_ms_per_token=0.05,
        running_ms_per_request=0.05,
    ),
    TpotRates(tpot_base_ms=11.0, tpot_ms_per_running=0.02, tpot_ms_per_context_token=5.6e-5),
)

DEFAULT_RATES = AnalyticRates(
    TtftRates(
        ttft_base_ms=40.0,
        prefill_ms_per_token=0.17,
        attention_ms_per_token_squared=6e-6,
        host_load_ms_per_token=0.03,
        storage_load_ms_per_token=0.1,
        running_ms_per_request=0.2,
    ),
    TpotRates(tpot_base_ms=25.0, tpot_ms_per_running=0.1, tpot_ms_per_context_token=2e-4),
)

_CPU = AnalyticRates(
    TtftRates(
        ttft_base_ms=11.0,
        prefill_ms_per_token=0.09,
        attention_ms_per_token_squared=8e-5,
        host_load_ms_per_token=0.002,
        storage_load_ms_per_token=0.01,
        running_ms_per_request=1.0,
    ),
    TpotRates(tpot_base_ms=3.6, tpot_ms_per_running=1.0, tpot_ms_per_context_token=4e-4),
)

_BY_LABEL = {"h100": _H100, "cpu": _CPU}


def rates_for(accelerator: str) -> AnalyticRates:
    """Rates of an accelerator label, any case; DEFAULT_RATES when it is unknown."""
    return _BY_LABEL.get(accelerator.lower(), DEFAULT_RATES)
