"""The gRPC twin of the index client: asks who holds each endpoint, and merges what they say."""

import random
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from farsight.index.holders import Holders, asks
from farsight.index.match import Matches
from farsight.index.peers import Peers
from farsight.index.question import Question, Roster
from farsight.index.second_looks import SecondLooks
from farsight.index.shards import IndexReplica, replicas_of
from farsight.keys import Keys, pack
from farsight.replicas import ReplicasAway

# How long a replica that is no holder any more may still have an endpoint, and a new one not yet.
MOVE_S = 30.0
MAX_FORMER = 4
MAX_ROSTERS = 64


class RemoteIndex:
    """Asks the indexer replicas, kept current by `etcd.watch(indexers, index.update)`.

    Within one request and one budget the next holder is asked where a replica fails, does not know
    an endpoint or is not EXACT about it.
    """

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget_s = budget_s
        self._clock = clock
        self._peers = Peers(clock)
        self._looks = SecondLooks(clock)
        self._holders = Holders(())
        self._former: list[tuple[float, tuple[IndexReplica, ...]]] = []
        self._rosters: dict[tuple[str, ...], Roster] = {}
        self._salt = random.random()  # callers prefer different replicas

    @property
    def replicas(self) -> Sequence[IndexReplica]:
        """The indexers that are known."""
        return self._holders.replicas

    def update(self, services: Mapping[str, bytes]) -> None:
        """Take the records of the indexers."""
        replicas = replicas_of(services)
        before = self._holders.replicas
        if before and set(before) != set(replicas):
            ready = tuple(replica for replica in before if replica.is_ready)
            self._former.append((self._clock() + MOVE_S, ready or before))
        self._arrange(replicas)
        self._peers.set_addresses(replica.address for replica in replicas)

    def _arrange(self, replicas: Sequence[IndexReplica]) -> None:
        now_s = self._clock()
        self._former = [f for f in self._former[-MAX_FORMER:] if f[0] > now_s]
        preferred = sorted(replicas, key=lambda replica: hash((self._salt, replica.replica_id)))
        self._holders = Holders(tuple(preferred), tuple(former for _, former in self._former))
        self._rosters.clear()

    async def close(self) -> None:
        """Close every channel."""
        await self._peers.close()

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint; those that no indexer knows are left out.

        :raises ReplicasAway: no indexer answered, or none could be asked.
        """
        if not self._holders.replicas:
            raise ReplicasAway("none")
        if not endpoint_ids:
            return Matches.nothing()
        if self._former and self._former[0][0] <= self._clock():
            self._arrange(self._holders.replicas)
        question = Question(
            pack(keys),
            self._roster(tuple(endpoint_ids)),
            self._holders.replicas,
            self._peers,
            self._looks,
            self._clock() + self._budget_s,
        )
        return await question.answer()

    def _roster(self, wanted: tuple[str, ...]) -> Roster:
        """The calls for some endpoints; the same rosters come again."""
        avoided = self._peers.avoided()
        is_plain = not avoided and not self._looks.have_found
        if is_plain and (known := self._rosters.get(wanted)) is not None:
            return known
        costs = self._holders.avoiding(self._holders.costs(wanted), avoided)
        self._looks.prefer(wanted, self._holders.replicas, costs)
        roster = Roster(wanted, costs, tuple(asks(costs, np.arange(len(wanted)))))
        if is_plain:
            if len(self._rosters) >= MAX_ROSTERS:
                self._rosters.clear()
            self._rosters[wanted] = roster
        return roster
