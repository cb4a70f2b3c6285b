"""Settings of the indexer."""

from pydantic import Field

from farsight.settings import ServiceSettings


class IndexerSettings(ServiceSettings):
    """How much of the fleet one replica holds; what there is to hold it learns from NATS."""

    index_copies: int = Field(
        0,
        ge=0,
        le=64,
        description="replicas that hold each endpoint, this one being one of them where it ranks "
        "high enough; 0: this replica holds every endpoint",
    )
    handover_s: float = Field(
        10,
        ge=0,
        le=600,
        description="how long an endpoint that other replicas have taken over is kept, seconds",
    )
    memory_budget_mb: int = Field(
        2048,
        ge=16,
        le=1 << 20,
        description="most memory of the block tables, MiB; past it, the last blocks of prompts go",
    )
