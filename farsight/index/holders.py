"""Whom a client of the index asks about which endpoint."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.index.merge import Rows
from farsight.index.shards import Held, IndexReplica, holding

Costs = npt.NDArray[np.int64]

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Holders:
    """The indexers at one moment, in the order in which this client prefers them."""

    replicas: tuple[IndexReplica, ...]
    former: tuple[tuple[IndexReplica, ...], ...] = ()
    """Replica sets of moments ago: who held an endpoint then may hold it still."""

    def costs(self, endpoint_ids: Sequence[str]) -> Costs:
        """int64[endpoints, replicas]: cheapest first, `NEVER` for who cannot hold the endpoint.

        Ready holders cost less than the number of replicas; those that may hold it, more than twice
        that, so that there is room to avoid a holder.
        """
        count = len(self.replicas)
        ready = tuple(replica for replica in self.replicas if replica.is_ready) or self.replicas
        costs = np.full((len(endpoint_ids), count), NEVER, np.int64)
        order = np.arange(count)
        for replicas in (self.replicas, *self.former):
            costs = np.where(self._held(endpoint_ids, replicas), 2 * count + order, costs)
        return np.where(self._held(endpoint_ids, ready), order, costs)

    def _held(self, endpoint_ids: Sequence[str], replicas: Sequence[IndexReplica]) -> Held:
        """Which of `self.replicas` held what when `replicas` were all."""
        held = holding(endpoint_ids, replicas)
        place = {replica.replica_id: i for i, replica in enumerate(replicas)}
        out = np.zeros((len(endpoint_ids), len(self.replicas)), np.bool_)
        for i, replica in enumerate(self.replicas):
            if replica.replica_id in place:
                out[:, i] = held[:, place[replica.replica_id]]
        return out

    def avoiding(self, costs: Costs, addresses: Collection[str]) -> Costs:
        """The costs when some replicas are asked after others that hold the same."""
        late = np.array([replica.address in addresses for replica in self.replicas])
        return np.where(late & (costs != NEVER), costs + len(self.replicas), costs)


@dataclass(frozen=True, slots=True)
class Ask:
    """One call: a replica, and the rows to ask it for."""

    replica: int
    rows: Rows
    has_others: bool
    """Somebody else can be asked for at least one of the rows."""


def asks(costs: Costs, rows: Rows) -> Iterator[Ask]:
    """The cheapest replica for each row; rows without any candidate are left out."""
    best = costs[rows].argmin(axis=1)
    possible = costs[rows, best] != NEVER
    several = (costs[rows] != NEVER).sum(axis=1) > 1
    for replica in np.unique(best[possible]).tolist():
        chosen = possible & (best == replica)
        yield Ask(replica, rows[chosen], bool(several[chosen].any()))
