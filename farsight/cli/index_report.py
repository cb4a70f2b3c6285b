"""What `farsight index diff` and `farsight index dump` print; the JSON output has this shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from farsight.cli.index_contents import TIERS, Contents, Place
from farsight.keys import Keys

SHOWN_KEYS = 3
STORAGE = "storage"


class Verdict(StrEnum):
    """What came of one comparison, or of all of them."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_HELD = "not held"
    NOT_COMPARED = "not compared"


EXIT_CODES = {Verdict.EQUAL: 0, Verdict.DIFFERENT: 1, Verdict.NOT_COMPARED: 2}


@dataclass(frozen=True, slots=True)
class TierDiff:
    """Blocks of one tier and KV group; the first keys of each side are in hex.

    `is_shared`: on shared storage, where another member of the pool may have removed what the
    endpoint's own mirror still lists.
    """

    tier: str
    group: int
    equal: int
    only_in_index: int
    only_in_mirror: int
    first_only_in_index: tuple[str, ...]
    first_only_in_mirror: tuple[str, ...]
    is_shared: bool

    @property
    def is_different(self) -> bool:
        """The index is wrong about this tier."""
        return bool(self.only_in_index or (self.only_in_mirror and not self.is_shared))


@dataclass(frozen=True, slots=True)
class ReplicaDiff:
    """One endpoint at one indexer replica; `why` says why it was not compared.

    `confidence` and `reason` are what the replica says of the endpoint, empty when it says nothing.
    """

    indexer: str
    verdict: Verdict
    why: str = ""
    confidence: str = ""
    reason: str = ""
    epoch: int = 0
    seq: int = 0
    tiers: tuple[TierDiff, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointDiff:
    """One endpoint at every replica."""

    endpoint_id: str
    replicas: tuple[ReplicaDiff, ...]


@dataclass(frozen=True, slots=True)
class DiffReport:
    """All that was asked for; DIFFERENT when anything differs, EQUAL when all could be compared."""

    verdict: Verdict
    endpoints: tuple[EndpointDiff, ...]


def verdict_of(replicas: tuple[ReplicaDiff, ...]) -> Verdict:
    """Of one endpoint: something must have been compared for it to be EQUAL."""
    found = {replica.verdict for replica in replicas}
    for verdict in (Verdict.DIFFERENT, Verdict.NOT_COMPARED, Verdict.EQUAL):
        if verdict in found:
            return verdict
    return Verdict.NOT_COMPARED


def report_of(endpoints: tuple[EndpointDiff, ...]) -> DiffReport:
    """The report with its verdict."""
    found = {verdict_of(endpoint.replicas) for endpoint in endpoints}
    for verdict in (Verdict.DIFFERENT, Verdict.NOT_COMPARED):
        if verdict in found:
            return DiffReport(verdict, endpoints)
    return DiffReport(Verdict.EQUAL, endpoints)


def compare(index: Contents, mirror: Contents, storage_pool: str) -> tuple[TierDiff, ...]:
    """Both sides after the same delta, by tier and group."""
    places = sorted(index.held.keys() | mirror.held.keys())
    return tuple(_compare_place(at, index, mirror, storage_pool) for at in places)


def _compare_place(at: Place, index: Contents, mirror: Contents, storage_pool: str) -> TierDiff:
    none = np.empty(0, np.uint64)
    in_index, in_mirror = index.held.get(at, none), mirror.held.get(at, none)
    only_in_index, only_in_mirror = (
        np.setdiff1d(a, b, assume_unique=True)
        for a, b in ((in_index, in_mirror), (in_mirror, in_index))
    )
    tier, group = TIERS[at[0]], at[1]
    return TierDiff(
        tier=tier,
        group=group,
        equal=in_index.size - only_in_index.size,
        only_in_index=only_in_index.size,
        only_in_mirror=only_in_mirror.size,
        first_only_in_index=tuple(in_hex(only_in_index[:SHOWN_KEYS])),
        first_only_in_mirror=tuple(in_hex(only_in_mirror[:SHOWN_KEYS])),
        is_shared=tier == STORAGE and bool(storage_pool),
    )


def in_hex(keys: Keys) -> Iterator[str]:
    """Keys as 16 hex digits each."""
    return (f"{key:016x}" for key in keys.tolist())
