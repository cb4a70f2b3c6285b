"""One request on its way through the index replicas."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farsight import metrics
from farsight.index.holders import NEVER, Ask, Costs, asks
from farsight.index.match import Confidence, Matches
from farsight.index.merge import Merge, Rows
from farsight.index.peers import Peers
from farsight.index.second_looks import SecondLooks
from farsight.index.shards import IndexReplica
from farsight.pb.index_pb2 import MatchRequest
from farsight.replicas import ReplicasAway

asked_again_total = metrics.counter(
    "farsight_index_asked_again",
    "Endpoints for which a further index replica was asked in the same request, by reason",
    ("reason",),
)
_after_failure = asked_again_total.labels("failed")
_after_doubt = asked_again_total.labels("not-exact")


@dataclass(frozen=True, slots=True)
class Roster:
    """Endpoints that are asked for together, and the calls with which to begin."""

    endpoint_ids: tuple[str, ...]
    costs: Costs
    calls: tuple[Ask, ...]

    def ids(self, rows: Rows) -> tuple[str, ...]:
        """The endpoints at some rows."""
        if rows.size == len(self.endpoint_ids):
            return self.endpoint_ids
        return tuple(self.endpoint_ids[row] for row in rows.tolist())


@dataclass(frozen=True, slots=True)
class Question:
    """Keys, endpoints, and until when an answer is of use; `deadline_s` is of the peers' clock."""

    keys: bytes
    roster: Roster
    replicas: Sequence[IndexReplica]
    peers: Peers
    looks: SecondLooks
    deadline_s: float

    async def answer(self) -> Matches:
        """Ask until nothing better can be expected.

        :raises ReplicasAway: nobody answered.
        """
        ids, calls = self.roster.endpoint_ids, self.roster.calls
        answers = await self._ask_all(calls)
        first = answers[0]
        if isinstance(first, Matches) and first.endpoint_ids == ids:  # one call answered for all
            doubtful = first.confidence != Confidence.EXACT
            if not (calls[0].has_others and self.looks.worth(ids, doubtful).any()):
                return first
        progress = _Progress(self.roster)
        while calls:
            for call, answer in zip(calls, answers, strict=True):
                progress.take(call, answer)
            calls = tuple(asks(progress.costs, progress.rows_to_ask(self.looks)))
            answers = await self._ask_all(calls)
        progress.note(self.looks, self.replicas)
        return progress.close()

    async def _ask_all(self, calls: Sequence[Ask]) -> list[Matches | str]:
        if len(calls) == 1:  # the usual case needs no task
            return [await self._ask(calls[0])]
        return await asyncio.gather(*(self._ask(call) for call in calls))

    async def _ask(self, call: Ask) -> Matches | str:
        left_s = self.deadline_s - self.peers.clock()
        # When this one hangs, somebody else must have time to answer.
        timeout_s = left_s / 2 if call.has_others else left_s
        request = MatchRequest(keys=self.keys, endpoint_ids=self.roster.ids(call.rows))
        return await self.peers.ask(self.replicas[call.replica].address, request, timeout_s)


class _Progress:
    """What is known so far, and what is worth another call."""

    def __init__(self, roster: Roster) -> None:
        count = len(roster.endpoint_ids)
        self._roster = roster
        self.costs = roster.costs.copy()
        self._merge = Merge(roster.endpoint_ids)
        self._failed = np.zeros(count, np.bool_)
        self._second = np.zeros(count, np.bool_)
        self._better = np.full(count, -1)
        self._round = 0
        self._is_answered = False
        self._why = "none"

    def take(self, call: Ask, answer: Matches | str) -> None:
        """One replica answered, or the reason why it did not."""
        self.costs[call.rows, call.replica] = NEVER
        self._failed[call.rows] = isinstance(answer, str)
        if isinstance(answer, str):
            self._why = answer
            return
        self._is_answered = True
        best = self._merge.take(call.rows, self._roster.ids(call.rows), answer)
        if self._round:
            self._better[best] = call.replica

    def rows_to_ask(self, looks: SecondLooks) -> Rows:
        """Those whose call failed, and once those about which nobody is sure."""
        possible = (self.costs != NEVER).any(axis=1)
        failed = self._failed & ~self._merge.answered & possible
        _after_failure.inc(int(failed.sum()))
        if self._round == 0:
            doubtful = ~self._merge.exact & ~self._failed & possible
            self._second = looks.worth(self._roster.endpoint_ids, doubtful)
            _after_doubt.inc(int(self._second.sum()))
            failed |= self._second
        self._round += 1
        return np.flatnonzero(failed)

    def note(self, looks: SecondLooks, replicas: Sequence[IndexReplica]) -> None:
        """Remember what the second looks brought."""
        for row in np.flatnonzero(self._second & ~self._failed).tolist():
            better = self._better[row]
            looks.note(
                self._roster.endpoint_ids[row],
                replicas[better].replica_id if better >= 0 else None,
                bool(self._merge.exact[row]),
            )

    def close(self) -> Matches:
        """The best of all answers.

        :raises ReplicasAway: there is none.
        """
        if not self._is_answered:
            raise ReplicasAway(self._why)
        return self._merge.close()
