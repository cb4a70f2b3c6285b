"""The engines' KV changes as the events that vLLM 0.32 publishes.

What one request stores in one step is one BlockStored, every block that leaves is one BlockRemoved.
A block's hash on the wire is its last canonical key: both name the whole prefix up to there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from farsight.keys import CANONICAL_BLOCK_TOKENS
from sim.emulator.run import Run
from sim.engine.engines import KvChanges
from sim.engine.layout import DEVICE, HOST, STORE

_MEDIA = {DEVICE: "GPU", HOST: "CPU"}


class BlockStored(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="BlockStored"):
    """Blocks that follow each other have come."""

    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str
    lora_name: str | None
    extra_keys: list[list[Any] | None]
    group_idx: int = 0
    kv_cache_spec_kind: str = "full_attention"


class BlockRemoved(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="BlockRemoved"):
    """A copy of a block has left."""

    block_hashes: list[int]
    medium: str
    group_idx: int = 0


class AllBlocksCleared(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="AllBlocksCleared"
):
    """The device cache is empty."""


KvEvent = BlockStored | BlockRemoved | AllBlocksCleared


@dataclass(frozen=True, slots=True)
class StepEvents:
    """Events of one step of one pod, to be published when the step ends."""

    pod: int
    ends_s: float
    events: list[KvEvent]


def by_step(
    changes: KvChanges, block_tokens: int, run_of: Callable[[int], Run]
) -> Iterator[StepEvents]:
    """Events in their order, one batch for each step, the earliest step first.

    :param run_of: the request in a slot of the engines.
    """
    rows = changes.rows
    hashes = changes.keys[rows["at"] + rows["keys"] - 1]
    batches: dict[tuple[int, float], list[KvEvent]] = {}
    for tier, medium in _MEDIA.items():
        chosen = np.flatnonzero(rows["tier"] == tier)
        part, part_hashes = rows[chosen], hashes[chosen]
        for start, end in _spans(part):
            row = part[start]
            span = part_hashes[start:end].tolist()
            if row["action"] == STORE:
                run, first = run_of(int(row["request"])), int(row["block"])
                event: KvEvent = _stored(run, first, span, block_tokens, medium)
            else:
                event = BlockRemoved(span, medium)
            batches.setdefault((int(row["engine"]), float(row["time_s"])), []).append(event)
    for (pod, ends_s), events in sorted(batches.items(), key=lambda item: item[0][1]):
        yield StepEvents(pod, ends_s, events)


def _spans(rows: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Rows that make one event: a removal, or what one request stores at once."""
    if not rows.size:
        return
    before, after = rows[:-1], rows[1:]
    goes_on = (after["action"] == STORE) & (after["block"] == before["block"] + 1)
    for field in ("action", "request", "engine", "time_s"):
        goes_on &= after[field] == before[field]
    starts = [0, *(np.flatnonzero(~goes_on) + 1).tolist()]
    yield from zip(starts, [*starts[1:], rows.size], strict=True)


def _stored(run: Run, first: int, hashes: list[int], block_tokens: int, medium: str) -> BlockStored:
    adapter = run.job.adapter
    key_before = first * (block_tokens // CANONICAL_BLOCK_TOKENS) - 1
    return BlockStored(
        block_hashes=hashes,
        parent_block_hash=int(run.job.keys[key_before]) if first else None,
        token_ids=run.block_tokens(first, len(hashes), block_tokens),
        block_size=block_tokens,
        lora_id=adapter.number if adapter else None,
        medium=medium,
        lora_name=adapter.name if adapter else None,
        extra_keys=run.extra_keys(first, len(hashes)),
    )
