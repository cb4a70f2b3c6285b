"""Cache changes have the form that vLLM 0.32 gives them, and the sidecar understands them."""

from typing import Any

import msgspec
import numpy as np
import pytest

from services.sidecar.changes import ChangeLog, Tier
from services.sidecar.events import decode
from services.sidecar.mirror import BlockLayout, Mirror
from sim.emulator.run import Job
from sim.engine.spec import TierSpec
from tests.fakes.engine import body_of, cleared, removed, stored
from tests.sim.emulator.driving import BLOCK, Driven, job


def hashes(asked: Job, first: int, end: int) -> list[int]:
    """Hashes of some blocks: the last canonical key of each."""
    return [int(key) for key in asked.keys[1::2][first:end]]


def mirrored(batches: list[list[dict[str, Any]]]) -> Mirror:
    """What a sidecar makes of them."""
    mirror, log = Mirror(BlockLayout("model", BLOCK, 16)), ChangeLog()
    for batch in batches:
        mirror.apply(decode(body_of(batch)), log)
    mirror.check_integrity()
    return mirror


def held(mirror: Mirror, tier: Tier) -> set[int]:
    """Keys on a tier."""
    return {key for part in mirror.contents() if part.tier is tier for key in part.keys.tolist()}


def test_stored_blocks_are_told_as_vllm_tells_them() -> None:
    """Prompt first, then each block of the answer with the one before it as parent."""
    pods, asked = Driven(), job(1, 2 * BLOCK + 5, BLOCK)
    tokens = np.concatenate((asked.prompt, asked.answer)).tolist()
    pods.driver.submit(asked, 0)
    pods.after(100.0)

    prompt, answer = hashes(asked, 0, 2), hashes(asked, 2, 3)
    expected = [
        [stored(prompt, tokens[: 2 * BLOCK], block_size=BLOCK)],
        [stored(answer, tokens[2 * BLOCK : 3 * BLOCK], parent=prompt[1], block_size=BLOCK)],
    ]
    assert pods.records[0].batches == expected
    assert list(pods.records[0].batches[0][0]) == list(expected[0][0])


def test_a_prompt_over_the_budget_is_stored_in_parts() -> None:
    """Each step tells what it computed."""
    pods, asked = Driven(blocks=100), job(1, 1024 + 2 * BLOCK, 1)
    pods.driver.submit(asked, 0)
    pods.after(10.0)

    first, second = (batch[0] for batch in pods.records[0].batches)
    assert first["block_hashes"] == hashes(asked, 0, 32)
    assert second["block_hashes"] == hashes(asked, 32, 34)
    assert second["parent_block_hash"] == first["block_hashes"][-1]


@pytest.mark.parametrize(
    ("lora", "salt", "extra_keys"),
    [
        ("", "s", [["s"], None]),
        ("ad", "", [["ad"], ["ad"]]),
        ("ad", "s", [["ad", "s"], ["ad"]]),
    ],
)
def test_adapter_and_salt_are_told(lora: str, salt: str, extra_keys: list[Any]) -> None:
    """As what is hashed beside the tokens; the sidecar comes to the engine's keys."""
    pods, asked = Driven(), job(1, 2 * BLOCK, 1, lora, salt)
    pods.driver.submit(asked, 0)
    pods.after(2.0)

    batches = pods.records[0].batches
    assert batches == [
        [
            stored(
                hashes(asked, 0, 2),
                asked.prompt.tolist(),
                block_size=BLOCK,
                lora_name=lora or None,
                extra_keys=extra_keys,
            )
        ]
    ]
    assert held(mirrored(batches), Tier.DEVICE) == set(asked.keys.tolist())


def test_removed_and_cleared_are_told_as_vllm_tells_them() -> None:
    """One event a block."""
    pods = Driven(blocks=4)
    first, second = job(1, 3 * BLOCK, 1), job(2, 3 * BLOCK, 1)
    for asked in (first, second):
        pods.driver.submit(asked, 0)
        pods.after(1.0)
    pods.driver.clear_cache(0)
    pods.driver.submit(job(3, 1, 1), 0)
    pods.after(1.0)

    _, evicting, clearing = pods.records[0].batches
    assert evicting[:2] == [removed([h]) for h in hashes(first, 1, 3)[::-1]]
    assert clearing == [cleared()]


def test_the_sidecar_comes_to_the_engines_blocks() -> None:
    """After evictions, duplicates and preemptions of many requests."""
    pods, rng = Driven(blocks=24), np.random.default_rng(1)
    for _ in range(200):
        prompt, answer = rng.integers(1, 6 * BLOCK), rng.integers(1, 3 * BLOCK)
        pods.driver.submit(job(int(rng.integers(6)), int(prompt), int(answer)), 0)
        pods.after(float(rng.uniform(0, 30)))
    pods.after(10_000.0)

    mirror = mirrored(pods.records[0].batches)
    assert mirror.reason == ""
    assert {"BlockRemoved", "BlockStored"} == {
        name for names in pods.records[0].names() for name in names
    }
    assert held(mirror, Tier.DEVICE) == set(pods.driver.engines.held_keys(0).tolist())


def test_the_host_tier_is_told_with_its_medium() -> None:
    """What is computed is written through; what was evicted from the device stays there."""
    pods = Driven(blocks=4, host=TierSpec(100 * BLOCK, 0.0))
    first, second = job(1, 3 * BLOCK, 1), job(2, 3 * BLOCK, 1)
    for asked in (first, second):
        pods.driver.submit(asked, 0)
        pods.after(1.0)

    mirror = mirrored(pods.records[0].batches)
    engines = pods.driver.engines
    assert held(mirror, Tier.HOST) == set(first.keys.tolist() + second.keys.tolist())
    assert held(mirror, Tier.HOST) == set(engines.held_keys(1).tolist())
    assert held(mirror, Tier.DEVICE) == set(engines.held_keys(0).tolist())


def test_an_event_is_a_map_with_its_type_first() -> None:
    """Readers of maps may rely on it."""
    pods = Driven()
    pods.driver.submit(job(1, 2 * BLOCK, 1), 0)
    pods.after(2.0)

    packed = msgspec.msgpack.encode(pods.records[0].batches[0][0])
    assert packed[1:].startswith(b"\xa4type\xabBlockStored")
