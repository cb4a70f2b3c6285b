"""The events of the engine that is not there."""

from collections.abc import Iterator
from typing import Any

import msgspec

from bench.index.engine_batches import DECODE_EVENTS, SPAN_BLOCKS, SPANS, Batches, build


def events_of(batches: Batches) -> Iterator[list[dict[str, Any]]]:
    """Of each batch."""
    for body in batches.bodies:
        _, events, rank = msgspec.msgpack.decode(body)
        assert rank == 0
        yield events


def test_spans_and_single_blocks_come_after_their_parents() -> None:
    """In the numbers that are told."""
    known: set[int | None] = {None}
    batches = build(20)
    for events, blocks in zip(events_of(batches), batches.blocks, strict=True):
        for event in events:
            assert event["parent_block_hash"] in known
            assert len(event["token_ids"]) == len(event["block_hashes"]) * event["block_size"]
            known.update(event["block_hashes"])
        sizes = [len(event["block_hashes"]) for event in events]
        assert sizes[:SPANS] == [SPAN_BLOCKS] * SPANS
        assert sum(sizes) == blocks
    assert sizes[SPANS:] == [1] * DECODE_EVENTS


def test_a_full_cache_removes_the_oldest_blocks() -> None:
    """As many as it stores; none that it does not hold."""
    held: list[int] = []
    for events in events_of(build(20, max_blocks=500)):
        for event in events:
            if event["type"] == "BlockStored":
                held += event["block_hashes"]
            else:
                assert event["block_hashes"] == held[:1]
                del held[:1]
        assert len(held) <= 500
    assert len(held) == 500
