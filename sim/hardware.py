"""Modelled hardware by name: one model on one kind of machine.

Where a figure is published it is used; the rest is a roofline of the published sizes. A token costs
2 FLOPs a parameter, a pair of tokens 4 * layers * heads * head size; a step reads the weights and
the keys and values of its context. `sim/VALIDATION.md` names every source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from farsight.errors import InvalidField
from sim.engine.spec import EngineSpec, StepRates, TierSpec

H100_FLOPS = 989e12  # dense bf16
H100_BYTES_PER_S = 3.35e12
H200_BYTES_PER_S = 4.8e12
COMPUTE_EFFICIENCY = 0.5
BANDWIDTH_EFFICIENCY = 0.7
SEQUENCE_S = 2e-5  # assumed: sampling and bookkeeping of one sequence


@dataclass(frozen=True, slots=True)
class _Model:
    """Sizes that the roofline needs."""

    active_parameters: float
    weight_bytes: float
    kv_bytes_per_token: float
    attention_flops_per_pair: float
    """4 * layers * heads * head size."""

    @property
    def attention_share(self) -> float:
        """Cost of a pair of tokens over the linear cost of one token."""
        return self.attention_flops_per_pair / (2 * self.active_parameters)


_QWEN3_32B = _Model(31.2e9, 65.5e9, 64 * 8 * 128 * 4, 4 * 64 * 64 * 128)
_LLAMA_8B = _Model(7.5e9, 16.1e9, 32 * 8 * 128 * 4, 4 * 32 * 32 * 128)
_LLAMA_70B = _Model(69.5e9, 141e9, 305e3, 4 * 80 * 64 * 128)
_QWEN3_480B = _Model(35e9, 480e9, 62 * 8 * 128 * 4, 4 * 62 * 96 * 128)


def _roofline(model: _Model, devices: int, bytes_per_s: float, flops: float) -> StepRates:
    """Rates of a model spread over some devices."""
    per_token_s = 2 * model.active_parameters / (devices * flops * COMPUTE_EFFICIENCY)
    reading = devices * bytes_per_s * BANDWIDTH_EFFICIENCY
    return StepRates(
        base_s=model.weight_bytes / reading,
        prefill_s_per_token=per_token_s,
        attention_s_per_token_squared=per_token_s * model.attention_share,
        decode_s_per_sequence=SEQUENCE_S,
        decode_s_per_context_token=model.kv_bytes_per_token / reading,
    )


def _measured_chunk(model: _Model, devices: int, base_s: float, chunk_s: float) -> StepRates:
    """Rates from a measured light-load step and a measured step of one full chunk."""
    chunk_tokens = 8192
    linear = chunk_tokens * (1 + model.attention_share * chunk_tokens / 2)
    per_token_s = (chunk_s - base_s) / linear
    reading = devices * H100_BYTES_PER_S * BANDWIDTH_EFFICIENCY
    return StepRates(
        base_s=base_s,
        prefill_s_per_token=per_token_s,
        attention_s_per_token_squared=per_token_s * model.attention_share,
        decode_s_per_sequence=SEQUENCE_S,
        decode_s_per_context_token=model.kv_bytes_per_token / reading,
    )


# Published: 307,328 tokens of KV, chunks of 8,192 tokens in 0.40 s, 11 ms a token at light load.
_QWEN3_32B_2XH100 = EngineSpec(
    _measured_chunk(_QWEN3_32B, 2, 0.011, 0.40), kv_tokens=307_328, max_sequences=1024
)
_LLAMA_8B_H100 = EngineSpec(
    _roofline(_LLAMA_8B, 1, H100_BYTES_PER_S, H100_FLOPS), kv_tokens=420_000, max_sequences=1024
)

HARDWARE: Mapping[str, EngineSpec] = {
    "qwen3-32b-2xh100": _QWEN3_32B_2XH100,
    "qwen3-32b-2xh100-512k": replace(_QWEN3_32B_2XH100, kv_tokens=512_000),
    "h100-1": _LLAMA_8B_H100,
    "llama-8b-2xh100": replace(_LLAMA_8B_H100, mounts_storage=True),
    "llama-70b-4xh100": EngineSpec(
        _roofline(_LLAMA_70B, 4, H100_BYTES_PER_S, H100_FLOPS),
        kv_tokens=480_000,
        max_sequences=1024,
        mounts_storage=True,
    ),
    "qwen3-480b-8xh200": EngineSpec(
        _roofline(_QWEN3_480B, 8, H200_BYTES_PER_S, 0.7 * H100_FLOPS),
        kv_tokens=2_100_000,
        max_sequences=1024,
        accelerator="H200",
    ),
    # The demo's model on one shared core.
    "cpu-demo": EngineSpec(
        StepRates(3.6e-3, 9e-5, 8e-8, 1e-3, 4e-7),
        kv_tokens=259 * 32,
        block_tokens=32,
        max_batched_tokens=2048,
        max_sequences=32,
        accelerator="cpu",
    ),
}

# About 10 GB/s for the 8B pods; 185,000 tokens/s were held from the storage of the 70B ones.
_STORAGE: Mapping[str, TierSpec] = {
    "llama-8b-2xh100": TierSpec(20_000_000, _LLAMA_8B.kv_bytes_per_token / 10e9, 2e-3),
    "llama-70b-4xh100": TierSpec(20_000_000, 1 / 185_000, 2e-3),
}


def hardware(name: str) -> EngineSpec:
    """The named engine.

    :raises InvalidField: there is none of that name.
    """
    if name not in HARDWARE:
        raise InvalidField("hardware", f"one of {sorted(HARDWARE)}, not {name[:64]!r}")
    return HARDWARE[name]


def shared_storage(name: str) -> TierSpec | None:
    """The storage that pods of the named hardware share; None when they have none."""
    return _STORAGE.get(name)
