"""Reads the fleet: records from etcd, then every replica at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from farsight.cli import status_rows
from farsight.cli.asking import NoAnswer, ask
from farsight.cli.health import health_of
from farsight.cli.status_records import Records, read_records
from farsight.cli.status_report import SERVING, Fleet, Indexer, LiveProfile, Service
from farsight.cli.top_state import ask_router
from farsight.etcd import Etcd
from farsight.pb.index_pb2 import IndexStatusReply, IndexStatusRequest
from farsight.pb.index_pb2_grpc import IndexStub
from farsight.pb.predictor_pb2 import PredictorStatusReply, PredictorStatusRequest
from farsight.pb.predictor_pb2_grpc import PredictorStub

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answers(Generic[T]):
    """Replies of one kind of service, and reasons of those who gave none, by replica id."""

    kind: str
    replies: dict[str, T]
    missing: dict[str, str]


async def read_fleet(etcd: Etcd) -> Fleet:
    """Everything that can be found out now.

    :raises EtcdUnavailable: etcd did not answer.
    """
    records = await read_records(etcd)
    healths, routers, indexers, predictors = await asyncio.gather(
        asyncio.gather(*(health_of(record) for record in records.services)),
        _ask_all(records, "router", ask_router),
        _ask_all(records, "indexer", _ask_indexer),
        _ask_all(records, "predictor", _ask_predictor),
    )
    now_s = time.time()
    services = tuple(
        status_rows.service_row(record, health, now_s)
        for record, health in zip(records.services, healths, strict=True)
    )
    silent = chain.from_iterable(_silent(services, a) for a in (routers, indexers, predictors))
    return Fleet(
        services=services,
        endpoints=tuple(
            status_rows.endpoint_row(record, record.endpoint_id in records.leased_endpoints)
            for record in records.endpoints
        ),
        trainer_leader=records.trainer_leader,
        bundles=tuple(status_rows.bundle_rows(records, predictors.replies, now_s)),
        profiles=tuple(LiveProfile(r, reply.profile) for r, reply in routers.replies.items()),
        indexers=tuple(
            Indexer(i, reply.distinct_blocks, reply.table_bytes)
            for i, reply in indexers.replies.items()
        ),
        index=tuple(status_rows.index_rows(indexers.replies)),
        loads=tuple(status_rows.load_rows(routers.replies)),
        unread=(*records.refused, *silent),
    )


async def _ask_all(
    records: Records, kind: str, ask_one: Callable[[str], Awaitable[T | NoAnswer]]
) -> _Answers[T]:
    replicas = [record for record in records.services if record.kind == kind]
    answers = await asyncio.gather(*(ask_one(replica.address) for replica in replicas))
    found: _Answers[T] = _Answers(kind, {}, {})
    for replica, answer in zip(replicas, answers, strict=True):
        if isinstance(answer, NoAnswer):
            found.missing[replica.replica_id] = answer.why
        else:
            found.replies[replica.replica_id] = answer
    return found


async def _ask_indexer(address: str) -> IndexStatusReply | NoAnswer:
    return await ask(address, lambda channel: IndexStub(channel).Status(IndexStatusRequest()))


async def _ask_predictor(address: str) -> PredictorStatusReply | NoAnswer:
    return await ask(
        address, lambda channel: PredictorStub(channel).Status(PredictorStatusRequest())
    )


def _silent(services: Sequence[Service], answers: _Answers[Any]) -> Iterator[str]:
    """Replicas that serve and do not tell their status; the others are known to be away."""
    serving = {(s.kind, s.replica_id) for s in services if s.health == SERVING}
    for replica_id, why in answers.missing.items():
        if (answers.kind, replica_id) in serving:
            yield f"{answers.kind} {replica_id} serves and tells no status: {why}"
