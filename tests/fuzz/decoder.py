"""Target `decoder`: bodies of KV-event batches.

A step is one body. What the decoder accepts is read again with a general msgpack decoder: hashes
and tokens must be the same.
"""

from random import Random
from typing import Any

import msgspec
import numba
import numpy as np

from services.sidecar import events
from services.sidecar.event_rows import EVENT
from services.sidecar.events import BadEvents, Batch, decode
from tests.fakes.engine import body_of, cleared, removed, stored
from tests.fuzz import program
from tests.fuzz.program import Step
from tests.fuzz.target import Target
from tests.fuzz.values import msgpack_changed

if numba.config.DISABLE_JIT:  # plain Python knows columns as attributes of records only
    vars(events)["EVENT"] = np.dtype((np.record, EVENT))

TAGS = ("BlockStored", "BlockRemoved", "AllBlocksCleared")


def run(data: bytes) -> None:
    """Every body is decoded or refused."""
    for step in program.decode(data):
        decoded(step.payload)


def decoded(body: bytes) -> Batch | None:
    """The batch, checked; None when it is refused."""
    try:
        batch = decode(body)
    except BadEvents:
        return None
    _check_against_plain(body, batch)
    return batch


def _check_against_plain(body: bytes, batch: Batch) -> None:
    """A general decoder finds the same events, hashes and tokens."""
    try:
        _, said, *_ = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        return  # what is skipped, such as unknown fields, need not be what msgspec takes
    known = [fields for event in said if (fields := _fields(event))["type"] in TAGS]
    assert len(known) == len(batch.rows)
    assert len(said) - len(known) == batch.unknown
    hashes = [_low_64(block) for event in known for block in event["block_hashes"]]
    tokens = [token for event in known for token in event["token_ids"]]
    assert batch.hashes.tolist() == hashes
    assert batch.tokens.tolist() == tokens


def _fields(event: Any) -> dict[str, Any]:
    """Type, hashes and tokens of an event in either form."""
    if isinstance(event, dict):
        tag = event["type"]
        hashes, tokens = event.get("block_hashes"), event.get("token_ids")
    else:
        tag, hashes, _, tokens = (*event, None, None, None)[:4]
    is_span = tag in ("BlockStored", "BlockRemoved")
    return {
        "type": tag,
        "block_hashes": hashes if is_span else (),
        "token_ids": (tokens or ()) if tag == "BlockStored" else (),
    }


def _low_64(block: int | bytes) -> int:
    if isinstance(block, int):
        return block % 2**64
    return int.from_bytes(block[-8:], "big")


def mutate(step: Step, rng: Random) -> bytes:
    """A value in the batch is another one."""
    return msgpack_changed(step.payload, rng)


def _chain(first: int, blocks: int, **fields: Any) -> dict[str, Any]:
    hashes = range(first, first + blocks)
    size = fields.get("block_size", 16)
    return stored(list(hashes), [first * 100 + i for i in range(size * blocks)], **fields)


def _maps() -> bytes:
    """The map form: chains, copies, removals, adapters, extras, tiers."""
    bodies = [
        [_chain(1, 4)],
        [_chain(5, 2, parent=4), _chain(1, 2)],
        [removed([2]), removed([2]), removed([99])],
        [_chain(20, 2, lora_name="ad", extra_keys=[["ad", ["img", 3], "salt"], ["ad"]])],
        [_chain(30, 2, extra_keys=[["salt"], [b"\1" * 32]]), _chain(40, 2, medium="CPU")],
        [stored([7], [], block_size=0, medium="STORAGE"), _chain(1, 4, medium="STORAGE")],
        [stored([b"\1" * 32], list(range(16)), parent=b"\2" * 16)],
        [cleared(), _chain(50, 1)],
    ]
    return program.encode(Step(0, body_of(body)) for body in bodies)


def _groups() -> bytes:
    """Groups with windows and checkpoints, holes, partial blocks, another block size."""
    sliding = _chain(1, 2, group_idx=1, kind="sliding_window")
    sliding["kv_cache_spec_sliding_window"] = 64
    sparse = stored([9], list(range(64)), group_idx=1, kind="sliding_window")
    bodies = [
        [_chain(1, 2), sliding, sparse],
        [_chain(60, 2, group_idx=2, kind="mamba"), _chain(70, 1, kind="cross_attention")],
        [_chain(80, 2, block_size=8), _chain(90, 2, block_size=32)],
        [removed([1, 2], group_idx=1), removed([60], group_idx=2)],
    ]
    steps = [Step(0, body_of(body)) for body in bodies]
    return program.encode([*steps, steps[0]])


def _arrays() -> bytes:
    """The positional form of older engines: signed hashes, trailing fields left out."""
    bodies = [
        [["BlockStored", [7, -8], None, list(range(1, 33)), 16, None, "GPU"]],
        [["BlockStored", [9], 7, list(range(16)), 16], ["BlockRemoved", [7]]],
        [["BlockRemoved", [-8], "CPU_TIER1"], ["AllBlocksCleared"], ["Unknown", 1, 2]],
    ]
    return program.encode(Step(0, msgspec.msgpack.encode([1.5, body])) for body in bodies)


SEEDS = (_maps(), _groups(), _arrays())
TARGET = Target(name="decoder", seeds=SEEDS, run=run, mutate=mutate)
