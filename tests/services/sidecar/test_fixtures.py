"""Batches as each engine encodes them; tests/fixtures/kv_events/write.py says where from."""

from pathlib import Path

import numpy as np
import pytest

from farsight.keys import extra_of
from services.sidecar.changes import ChangeLog, Tier
from services.sidecar.events import EventKind, decode
from services.sidecar.kv_groups import KvGroupRule, Rule
from services.sidecar.mirror import BlockLayout, Mirror
from tests.services.sidecar.events_for import held, keys_of

FIXTURES = Path(__file__).parents[2] / "fixtures/kv_events"
TOKENS = list(range(100, 164))


def followed(name: str, block_tokens: int = 16) -> Mirror:
    """The mirror after a fixture."""
    batch = decode((FIXTURES / f"{name}.msgpack").read_bytes())
    assert (batch.engine_unix_s, batch.unknown) == (1.5, 0)
    mirror = Mirror(BlockLayout("model", block_tokens, 16), offload_chunk_blocks=2)
    mirror.apply(batch, ChangeLog())
    mirror.check_integrity()
    return mirror


def ints(packed: bytes) -> set[int]:
    """Packed keys as numbers."""
    return set(np.frombuffer(packed, "<u8").tolist())


def test_every_fixture_is_known() -> None:
    """A new one needs a test."""
    assert {path.stem for path in FIXTURES.glob("*.msgpack")} == {
        "vllm_map",
        "vllm_map_digests",
        "vllm_map_offloaded",
        "vllm_array",
        "sglang",
        "tensorrt_llm",
    }


def test_vllm_map() -> None:
    """All but the block after the clear is gone from the device; the group's rule is known."""
    mirror = followed("vllm_map")

    assert held(mirror) == ints(keys_of(TOKENS[:16]))
    assert mirror.kv_groups == (KvGroupRule(1, Rule.SUFFIX, 1),)
    assert (mirror.reason, mirror.take_ignored()) == ("", {})


def test_vllm_map_extras() -> None:
    """Adapter, salt and image of real events give the keys that a router asks for."""
    batch = decode((FIXTURES / "vllm_map.msgpack").read_bytes())
    before_clear = list(batch.rows["kind"]).index(EventKind.CLEARED)
    mirror = Mirror(BlockLayout("model", 16, 16))

    mirror.apply(
        type(batch)(1.5, batch.rows[:before_clear], batch.hashes, batch.tokens, batch.beside, 0),
        ChangeLog(),
    )

    salt = np.array([extra_of([b"salt", b"tenant-a"])], np.uint64)
    image = np.array([extra_of([b"mm", b"image", b"5"])], np.uint64)
    assert held(mirror) == (
        ints(keys_of(TOKENS[:48]))
        | ints(keys_of(TOKENS[:32], lora="ad", extras=salt))
        | ints(keys_of(TOKENS[:16], extras=image))
    )


def test_vllm_map_digests() -> None:
    """Stored and removed under the same name."""
    assert followed("vllm_map_digests").block_count == 0


def test_vllm_map_offloaded() -> None:
    """Placeholders by the connector's own hand: a chunk of two blocks on storage."""
    mirror = followed("vllm_map_offloaded")

    keys = keys_of(TOKENS)
    assert held(mirror) == ints(keys)
    assert held(mirror, Tier.HOST) == set()
    assert held(mirror, Tier.STORAGE) == ints(keys[16:])
    assert mirror.reason == ""


@pytest.mark.parametrize(
    ("name", "device", "host"),
    [("vllm_array", 16, 0), ("sglang", 16, 32), ("tensorrt_llm", 32, 0)],
)
def test_arrays(name: str, device: int, host: int) -> None:
    """Tokens held on the device and on the host, always the prompt's first."""
    mirror = followed(name, 32 if name == "tensorrt_llm" else 16)

    assert held(mirror) == ints(keys_of(TOKENS[:device]))
    assert held(mirror, Tier.HOST) == ints(keys_of(TOKENS[:host]))
    assert mirror.reason == ""
