"""Compares indexer replicas with sidecars' mirrors, both after the same delta.

The endpoint's deltas are captured first. A fresh snapshot tells the mirror after delta s, a dump
the index after delta d; the snapshot is moved on by the captured deltas s+1 to d. A replica that is
behind the snapshot or in another life of the engine is asked again.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from farsight.cli.asking import NoAnswer
from farsight.cli.index_contents import Contents
from farsight.cli.index_mirror import Mirror, NoMirror
from farsight.cli.index_replicas import Dump, Unknown, dump
from farsight.cli.index_report import EndpointDiff, ReplicaDiff, Verdict, compare
from farsight.index.shards import IndexReplica, holding

SNAPSHOTS = 3
DUMPS = 8
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class _Again:
    """Not comparable with this snapshot; `why` is told when the limit is reached."""

    why: str


async def diff_endpoint(
    endpoint_id: str, mirror: Mirror, replicas: Sequence[IndexReplica]
) -> EndpointDiff:
    """One endpoint at every replica."""
    done: dict[str, ReplicaDiff] = {}
    held = holding([endpoint_id], replicas)[0]
    strangers = {r.replica_id for r, holds in zip(replicas, held, strict=True) if not holds}
    pending = list(replicas)
    for _ in range(SNAPSHOTS):
        try:
            base = await mirror.snapshot()
        except NoMirror as error:
            found: list[ReplicaDiff | _Again] = [_Again(str(error))] * len(pending)
        else:
            found = await asyncio.gather(
                *(_diff(endpoint_id, mirror, base, replica, strangers) for replica in pending)
            )
        why = {r.replica_id: f.why for r, f in zip(pending, found, strict=True)}
        done |= {f.indexer: f for f in found if isinstance(f, ReplicaDiff)}
        pending = [replica for replica in pending if replica.replica_id not in done]
        if not pending:
            break
        await asyncio.sleep(PAUSE_S)
    for replica in pending:
        name = replica.replica_id
        done[name] = ReplicaDiff(name, Verdict.NOT_COMPARED, why[name])
    return EndpointDiff(endpoint_id, tuple(done[replica.replica_id] for replica in replicas))


async def _diff(
    endpoint_id: str,
    mirror: Mirror,
    base: Contents,
    replica: IndexReplica,
    strangers: Collection[str],
) -> ReplicaDiff | _Again:
    """One endpoint at one replica, against one snapshot."""
    name = replica.replica_id
    found = await _dump_since(endpoint_id, base, replica)
    match found:
        case Unknown():
            if name in strangers:
                return ReplicaDiff(name, Verdict.NOT_HELD)
            return _Again("it does not know the endpoint")
        case NoAnswer() | _Again():
            return _Again(found.why)
    index = found.contents
    if index.epoch != base.epoch:
        return _Again(f"it knows epoch {index.epoch}, the mirror is of epoch {base.epoch}")
    try:
        tiers = compare(index, await mirror.after(base, index.seq), found.storage_pool)
    except NoMirror as error:
        return _Again(str(error))
    is_different = any(tier.is_different for tier in tiers)
    return ReplicaDiff(
        indexer=name,
        verdict=Verdict.DIFFERENT if is_different else Verdict.EQUAL,
        confidence=found.confidence,
        reason=found.reason,
        epoch=index.epoch,
        seq=index.seq,
        tiers=tiers,
    )


async def _dump_since(
    endpoint_id: str, base: Contents, replica: IndexReplica
) -> Dump | Unknown | NoAnswer | _Again:
    """A dump that is not behind the snapshot."""
    why = ""
    for attempt in range(DUMPS):
        if attempt:
            await asyncio.sleep(PAUSE_S)
        found = await dump(replica.address, endpoint_id)
        if not isinstance(found, Dump):
            return found
        at = found.contents
        if (at.epoch, at.seq) >= (base.epoch, base.seq):
            return found
        why = f"it stays at delta {at.seq} of epoch {at.epoch}, {found.confidence}: {found.reason}"
    return _Again(f"{why}; the mirror is at delta {base.seq} of epoch {base.epoch}")
