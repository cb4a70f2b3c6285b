"""What an engine is: its sizes, how long its steps take, and the tiers below its device cache."""

from dataclasses import dataclass, field, fields

from farsight.errors import InvalidField
from farsight.keys import CANONICAL_BLOCK_TOKENS

MAX_SEQUENCES = 4096


@dataclass(frozen=True, slots=True)
class StepRates:
    """Time of one step: the sum of what it computes and reads.

    step = base + prefill * n + attention * n * (context + n / 2)   for each prefill of n tokens
         + sequence * (sequences that decode) + context * (tokens that they attend to)

    :raises InvalidField: a rate is negative.
    """

    base_s: float
    prefill_s_per_token: float
    attention_s_per_token_squared: float
    decode_s_per_sequence: float
    decode_s_per_context_token: float

    def __post_init__(self) -> None:
        for rate in fields(self):
            if not getattr(self, rate.name) >= 0:
                raise InvalidField(rate.name, "at least 0")


@dataclass(frozen=True, slots=True)
class TierSpec:
    """A tier below the device: what is computed is written through, what is missing is loaded."""

    capacity_tokens: int
    load_s_per_token: float
    latency_s: float = 0.0
    """Before the first byte of a load."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One modelled engine.

    :raises InvalidField: a size is out of range.
    """

    rates: StepRates
    kv_tokens: int
    """Capacity of the device cache."""
    block_tokens: int = CANONICAL_BLOCK_TOKENS
    max_batched_tokens: int = 8192
    max_sequences: int = 256
    host: TierSpec | None = None
    mounts_storage: bool = False
    max_loras: int = 0
    """Adapters that one step can mix; 0: no limit and no load time."""
    lora_load_s: float = 0.0
    accelerator: str = "H100"
    pool: str = field(default="default", kw_only=True)

    def __post_init__(self) -> None:
        if self.block_tokens < 1 or self.block_tokens % CANONICAL_BLOCK_TOKENS:
            raise InvalidField("block_tokens", f"a multiple of {CANONICAL_BLOCK_TOKENS}")
        if not 1 <= self.max_sequences <= MAX_SEQUENCES:
            raise InvalidField("max_sequences", f"1 to {MAX_SEQUENCES}")
        if self.blocks < 1:
            raise InvalidField("kv_tokens", f"at least one block of {self.block_tokens}")
        if self.max_batched_tokens < self.max_sequences:
            raise InvalidField("max_batched_tokens", f"at least {self.max_sequences}")
        if self.max_loras < 0:
            raise InvalidField("max_loras", "at least 0")
        if self.host and self.host.capacity_tokens < self.block_tokens:
            raise InvalidField("host", "capacity for at least one block")

    @property
    def blocks(self) -> int:
        """Device blocks."""
        return self.kv_tokens // self.block_tokens

    @property
    def keys_per_block(self) -> int:
        """Canonical block keys in one engine block."""
        return self.block_tokens // CANONICAL_BLOCK_TOKENS
