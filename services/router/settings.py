"""Settings of the router."""

from typing import Literal

from pydantic import Field, field_validator

from farsight.settings import ServiceSettings
from services.router.profile import shipped_texts


class RouterSettings(ServiceSettings):
    """Settings of the router."""

    profile: str = Field("predicted", description="scheduling profile until etcd names another")
    index: Literal["service", "embedded"] = Field(
        "service", description="ask the indexers, or keep a read replica of the index in process"
    )
    index_budget_ms: float = Field(
        50, gt=0, le=10_000, description="longest wait for the index, milliseconds"
    )
    predictor_budget_ms: float = Field(
        20, gt=0, le=10_000, description="longest wait for the predictor, milliseconds"
    )
    tokenizers: dict[str, str] = Field(
        default_factory=dict,
        description="model=path of tokenizers that the endpoint records do not name",
    )
    max_prompt_bytes: int = Field(
        8 << 20, ge=1024, le=15 << 20, description="longest prompt text or chat, bytes"
    )
    default_output_tokens: int = Field(
        128, ge=1, le=1 << 20, description="expected output until requests have finished, tokens"
    )
    reservation_lease_s: float = Field(
        600, gt=0, le=86_400, description="a reservation without reports ends after this, seconds"
    )
    inhibit_s: float = Field(
        2, ge=0, le=600, description="an endpoint that failed is left out for this long, seconds"
    )
    approximate_blocks: int = Field(
        32_768, ge=0, le=1 << 24, description="routed blocks remembered per endpoint"
    )
    speculative_s: float = Field(
        2, ge=0, le=60, description="a routed prompt counts as cached until the index says so, at"
        " most this long, seconds; 0: never",
    )  # fmt: skip

    @field_validator("profile")
    @classmethod
    def _shipped(cls, name: str) -> str:
        if name not in (known := sorted(shipped_texts())):
            raise ValueError(f"expected one of {known}")
        return name
