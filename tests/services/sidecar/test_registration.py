"""What an engine says about itself, as a record."""

from typing import Any

import aiohttp
import pytest

from farsight.discovery import decode_endpoint
from farsight.errors import BadRecord
from farsight.pb.types_pb2 import Role
from services.sidecar.engine import Engine, ServedModel
from services.sidecar.mirror import BlockLayout
from services.sidecar.registration import (
    base_model,
    cache_config,
    describe,
    encode,
    key_block_tokens,
    lora_names,
)
from services.sidecar.settings import SidecarSettings
from tests.fakes.engine import FakeEngine


def settings_for(url: str, **fields: Any) -> SidecarSettings:
    """Settings of a sidecar beside an engine."""
    return SidecarSettings.model_validate({"engine_url": url, "endpoint_id": "pod-1", **fields})


async def test_describes_an_engine() -> None:
    """Model, adapters, tokenizer, layout and size of the cache come from its pages."""
    async with (
        FakeEngine(loras=["b", "a"], block_size=32, kv_blocks=200) as engine,
        aiohttp.ClientSession() as session,
    ):
        settings = settings_for(engine.url + "/", accelerator="H100", role="decode", pool="p")

        found = await describe(Engine(session, engine.url, 2), settings)

    assert (found.model, found.lora_names, found.tokenizer) == ("tiny", ("a", "b"), "/models/tiny")
    assert found.layout == BlockLayout("tiny", 32, 16)
    assert (found.kv_blocks, found.max_model_len_tokens) == (200, 4096)
    record = decode_endpoint(encode(found, settings, 7, 8))
    assert (record.endpoint_id, record.url, record.pool) == ("pod-1", engine.url, "p")
    assert (record.role, record.accelerator) == (Role.ROLE_DECODE, "H100")
    assert (record.block_size_tokens, record.key_block_tokens, record.kv_blocks) == (32, 16, 200)
    assert (record.epoch, record.registered_unix_ms) == (7, 8)
    assert (record.engine_version, record.model_fingerprint) == ("0.32.0", "tiny")


async def test_settings_win_over_the_engine() -> None:
    """Address, tokenizer and fingerprint may be known better."""
    async with FakeEngine() as engine, aiohttp.ClientSession() as session:
        settings = settings_for(
            engine.url,
            advertise_url="http://pod-1:8000",
            tokenizer="org/model",
            model_fingerprint="rev-5",
        )

        found = await describe(Engine(session, engine.url, 2), settings)

    record = decode_endpoint(encode(found, settings, 1, 1))
    assert (record.url, record.tokenizer) == ("http://pod-1:8000", "org/model")
    assert record.model_fingerprint == "rev-5"


@pytest.mark.parametrize(("block", "key_block"), [(16, 16), (64, 16), (8, 8), (24, 24), (1, 1)])
def test_canonical_block_fits_the_engine(block: int, key_block: int) -> None:
    """16 where the engine's block is a multiple of it, its own otherwise."""
    assert key_block_tokens(block) == key_block


def test_adapters_are_no_models() -> None:
    """An entry with a parent is a LoRA adapter."""
    models = (ServedModel("x", parent="m"), ServedModel("m"), ServedModel("a", parent="m"))

    assert base_model(models).id == "m"
    assert lora_names(models) == ("a", "x")
    with pytest.raises(BadRecord, match="no base model"):
        base_model(models[:1])


@pytest.mark.parametrize("line", ["", 'vllm:cache_config_info{block_size="None"} 1.0'])
def test_a_page_without_cache_sizes_is_refused(line: str) -> None:
    """The block size is never guessed."""
    with pytest.raises(BadRecord, match="cache_config_info"):
        cache_config(f"#\n{line}\n".encode(), 0)
