"""Settings of the sidecar."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from farsight.settings import ServiceSettings


def _base_url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("expected http://host:port or https://host:port")
    return text.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class SidecarSettings(ServiceSettings):
    """One sidecar stands beside one engine rank."""

    engine_url: BaseUrl = Field(
        "http://127.0.0.1:8000", min_length=8, description="OpenAI API of the engine"
    )
    endpoint_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,128}$", description="name of the endpoint, unique in the fleet"
    )
    advertise_url: BaseUrl = Field(
        "", description="URL that others reach the engine at; empty: engine_url"
    )
    pool: str = Field("default", description="endpoints that are interchangeable share a pool")
    role: Literal["both", "prefill", "decode"] = Field("both", description="what the engine serves")
    accelerator: str = Field("unknown", description="accelerator label, for example H100 or cpu")
    data_parallel_rank: int = Field(0, ge=0, le=65535, description="rank inside the engine")
    model_fingerprint: str = Field(
        "", description="what block keys are seeded with; empty: the served model name"
    )
    tokenizer: str = Field(
        "", description="path or hub id of the tokenizer; empty: the model's path as served"
    )
    kv_events: str = Field(
        "", description="ZMQ address of the events; empty: asked from the engine"
    )
    kv_replay: str = Field("", description="ZMQ address of the replay, beside kv_events")
    kv_report_mode: Literal["new", "full"] = Field(
        "new", description="full: the engine announces reused blocks again"
    )
    kv_offload_chunk_blocks: int = Field(
        1, ge=1, le=32768, description="engine blocks in one chunk that the engine offloads"
    )
    kv_drops_last_block: bool = Field(
        False, description="the engine recomputes the last block of a hit (EAGLE, MTP)"
    )
    max_mirror_blocks: int = Field(
        4_000_000, ge=1, description="engine blocks to mirror on one tier at most"
    )
    storage_pool: str = Field(
        "",
        pattern=r"^[!-~]{0,256}$",
        description="identity of the shared KV storage that the engine mounts; endpoints with the "
        "same one are credited with each other's blocks there; empty: none",
    )
    prefix_hash_algorithm: Literal[
        "auto", "sha256", "sha256_cbor", "xxhash", "xxhash_cbor", "off"
    ] = Field(
        "auto",
        description="the engine's --prefix-caching-hash-algo, which a sample of its hashes is "
        "checked against; auto: found out; off: nothing is checked",
    )
    prefix_hash_seed: str = Field(
        "",
        max_length=256,
        validate_default=True,
        description="PYTHONHASHSEED of the engine; empty: it has none (xxhash needs one)",
    )
    load_interval_s: float = Field(0.25, gt=0, le=60, description="time between reads of the load")
    load_timeout_s: float = Field(
        5.0, gt=0, description="unread for so long, the endpoint is withdrawn"
    )
    probe_interval_s: float = Field(1.0, gt=0, le=60, description="time between health probes")
    probe_failures: int = Field(3, ge=1, description="failed probes until it is withdrawn")
    models_interval_s: float = Field(
        10.0, gt=0, description="time between looks at the served adapters"
    )
    http_timeout_s: float = Field(
        2.0, gt=0, le=60, description="limit of one request to the engine"
    )
    replay_timeout_s: float = Field(5.0, gt=0, description="limit of silence in a replay")
    tail_check_s: float = Field(
        2.0, gt=0, description="idle time after which the end of the stream is checked"
    )
    snapshot_max_age_s: float = Field(60.0, gt=0, description="age at which a snapshot is renewed")
    snapshot_min_interval_s: float = Field(
        1.0, ge=0, description="least time between two snapshots"
    )

    @field_validator("prefix_hash_seed")
    @classmethod
    def _xxhash_has_a_seed(cls, seed: str, info: ValidationInfo) -> str:
        if not seed and info.data.get("prefix_hash_algorithm", "").startswith("xxhash"):
            raise ValueError("expected the engine's PYTHONHASHSEED: xxhash has no other fixed seed")
        return seed
