"""What is registered about an endpoint, found out from its engine and the settings."""

from dataclasses import dataclass

from farsight import discovery
from farsight.errors import BadRecord
from farsight.keys import CANONICAL_BLOCK_TOKENS
from farsight.pb.records_pb2 import EndpointRecord
from farsight.pb.types_pb2 import Role
from services.sidecar.engine import Engine, ServedModel
from services.sidecar.exposition import find_line, labels
from services.sidecar.load import parse
from services.sidecar.mirror import BlockLayout
from services.sidecar.settings import SidecarSettings

CACHE_INFO = b"vllm:cache_config_info"
MAX_LORAS = 1024


@dataclass(frozen=True, slots=True)
class Description:
    """An engine rank in one life. Blocks are the engine's own, of `layout.block_tokens` tokens."""

    model: str
    lora_names: tuple[str, ...]
    max_model_len_tokens: int
    tokenizer: str
    layout: BlockLayout
    kv_blocks: int
    engine_version: str
    process_start_unix_s: float | None


def key_block_tokens(block_tokens: int) -> int:
    """The canonical block of an engine with blocks of `block_tokens`."""
    return CANONICAL_BLOCK_TOKENS if block_tokens % CANONICAL_BLOCK_TOKENS == 0 else block_tokens


async def describe(engine: Engine, settings: SidecarSettings) -> Description:
    """Ask the engine who it is.

    :raises EngineUnavailable: it does not answer (yet).
    :raises BadRecord: its answers do not make a record.
    """
    await engine.check_health()
    models = await engine.models()
    model = base_model(models)
    page = await engine.metrics_page()
    scrape = parse(page, settings.data_parallel_rank)
    if scrape is None:
        raise BadRecord(f"/metrics has no load of engine rank {settings.data_parallel_rank}")
    block_tokens, kv_blocks = cache_config(page, settings.data_parallel_rank)
    return Description(
        model=model.id,
        lora_names=lora_names(models),
        max_model_len_tokens=model.max_model_len or 0,
        tokenizer=settings.tokenizer or model.root or model.id,
        layout=BlockLayout(
            settings.model_fingerprint or model.id, block_tokens, key_block_tokens(block_tokens)
        ),
        kv_blocks=kv_blocks,
        engine_version=await engine.version(),
        process_start_unix_s=scrape.process_start_unix_s,
    )


def base_model(models: tuple[ServedModel, ...]) -> ServedModel:
    """The first entry that is no adapter.

    :raises BadRecord: there is none.
    """
    for model in models:
        if model.parent is None:
            return model
    raise BadRecord("/v1/models lists no base model")


def lora_names(models: tuple[ServedModel, ...]) -> tuple[str, ...]:
    """Adapters among the served models."""
    return tuple(sorted(model.id for model in models if model.parent is not None))[:MAX_LORAS]


def cache_config(page: bytes, rank: int) -> tuple[int, int]:
    """Block size in tokens and device blocks, from a `/metrics` page.

    :raises BadRecord: the page does not tell them.
    """
    line = find_line(page, CACHE_INFO, rank)
    found = labels(line) if line is not None else {}
    block, count = found.get("block_size", ""), found.get("num_gpu_blocks", "")
    if not (block.isdecimal() and count.isdecimal() and 1 <= int(block) <= 65536):
        raise BadRecord(f"{CACHE_INFO.decode()}: block_size {block!r}, num_gpu_blocks {count!r}")
    return int(block), min(int(count), 0xFFFFFFFF)


def encode(
    description: Description, settings: SidecarSettings, epoch: int, registered_unix_ms: int
) -> bytes:
    """The endpoint's record for etcd."""
    return discovery.encode_record(
        EndpointRecord(
            endpoint_id=settings.endpoint_id,
            url=settings.advertise_url or settings.engine_url,
            pool=settings.pool,
            model=description.model,
            lora_names=description.lora_names,
            role=Role.Value(f"ROLE_{settings.role.upper()}"),
            block_size_tokens=description.layout.block_tokens,
            kv_blocks=description.kv_blocks,
            data_parallel_rank=settings.data_parallel_rank,
            accelerator=settings.accelerator,
            epoch=epoch,
            max_model_len_tokens=description.max_model_len_tokens,
            tokenizer=description.tokenizer,
            model_fingerprint=description.layout.model_fingerprint,
            key_block_tokens=description.layout.key_block_tokens,
            engine_version=description.engine_version,
            registered_unix_ms=registered_unix_ms,
        )
    )
