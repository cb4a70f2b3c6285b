"""Which indexer replica holds which endpoint, by rendezvous hashing of their names.

For each endpoint every replica has a score; a replica holds the endpoint when fewer than
`index_copies` others score higher. A replica that joins or leaves moves its own share and nothing
else, and everybody who knows the same replicas comes to the same result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from farsight.discovery import decode_services

Held = npt.NDArray[np.bool_]

# A record that vanishes may be a lease that etcd's own restart ended: it is written again soon.
VANISHED_S = 3.0
MAX_REMEMBERED_ENDPOINTS = 8192
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class IndexReplica:
    """One indexer as its record says; `copies` 0 means that it holds every endpoint."""

    replica_id: str
    address: str = ""
    copies: int = 0
    is_ready: bool = True


def replicas_of(values: Mapping[str, bytes]) -> tuple[IndexReplica, ...]:
    """The indexers under their prefix of etcd, by name; bad records are counted and left out."""
    records = decode_services(values).values()
    found = {
        r.replica_id: IndexReplica(r.replica_id, r.address, r.index_copies, r.ready)
        for r in records
    }
    return tuple(found[name] for name in sorted(found))


@lru_cache(maxsize=1 << 14)
def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def _hashes(names: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.array([_hash(name) for name in names], np.uint64)


def holding(endpoint_ids: Sequence[str], replicas: Sequence[IndexReplica]) -> Held:
    """Who holds what, as bool[endpoints, replicas]."""
    copies = np.array([replica.copies for replica in replicas], np.int64)
    if not copies.any():
        return np.ones((len(endpoint_ids), len(replicas)), np.bool_)
    names = _hashes([replica.replica_id for replica in replicas])
    scores = _hashes(endpoint_ids)[:, None] ^ names
    for shift, factor in zip((30, 27), _MIX, strict=True):
        scores = (scores ^ (scores >> np.uint64(shift))) * factor
    scores ^= scores >> np.uint64(31)
    higher = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    held: Held = (copies == 0) | (higher < copies)
    return held


class Share:
    """The endpoints of one replica, kept current by `etcd.watch(indexers, share.update)`.

    Nothing is held before the first records are there. A share grows as soon as the records say so.
    It shrinks when others that are ready have taken over, so that an endpoint is never without a
    holder that can answer.
    """

    def __init__(self, replica_id: str, copies: int, clock: Callable[[], float]) -> None:
        self._own = IndexReplica(replica_id, copies=copies)
        self._clock = clock
        self._is_told = False
        self._others: dict[str, IndexReplica] = {}
        self._vanished: dict[str, tuple[IndexReplica, float]] = {}
        self._wanted: dict[str, bool] = {}
        self._needed: dict[str, bool] = {}

    @property
    def is_whole(self) -> bool:
        """Every endpoint is held, whoever else there is."""
        return self._own.copies == 0

    def update(self, values: Mapping[str, bytes]) -> None:
        """Take the records of the indexers."""
        self._is_told = True
        own = self._own.replica_id
        others = {r.replica_id: r for r in replicas_of(values) if r.replica_id != own}
        now_s = self._clock()
        for name in self._others.keys() - others.keys():
            self._vanished[name] = self._others[name], now_s + VANISHED_S
        for name in others:
            self._vanished.pop(name, None)
        self._others = others
        self._recompute()

    def tidy(self) -> None:
        """Give up replicas whose records have stayed away."""
        now_s = self._clock()
        over = [name for name, (_, until_s) in self._vanished.items() if until_s <= now_s]
        for name in over:
            del self._vanished[name]
        if over:
            self._recompute()

    def _recompute(self) -> None:
        self._wanted.clear()
        self._needed.clear()

    def wants(self, endpoint_id: str) -> bool:
        """The endpoint is this replica's to load."""
        away = (replica for replica, _ in self._vanished.values())
        return self._holds(endpoint_id, self._wanted, (*self._others.values(), *away))

    def needs(self, endpoint_id: str) -> bool:
        """The endpoint is this replica's to keep: among those that are ready it is a holder."""
        ready = (replica for replica in self._others.values() if replica.is_ready)
        return self.wants(endpoint_id) or self._holds(endpoint_id, self._needed, ready)

    def _holds(
        self, endpoint_id: str, known: dict[str, bool], others: Iterable[IndexReplica]
    ) -> bool:
        if self.is_whole or not self._is_told:
            return self.is_whole
        holds = known.get(endpoint_id)
        if holds is None:
            if len(known) >= MAX_REMEMBERED_ENDPOINTS:
                known.clear()
            holds = known[endpoint_id] = bool(holding([endpoint_id], (self._own, *others))[0, 0])
        return holds
