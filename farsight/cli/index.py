"""`farsight index`: what the index holds, and whether it is what the endpoints hold."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import typer

from farsight.cli.asking import NoAnswer
from farsight.cli.index_contents import TIERS
from farsight.cli.index_diff import diff_endpoint
from farsight.cli.index_errors import CannotCompare, NotHeld
from farsight.cli.index_mirror import Mirror, mirrors_of
from farsight.cli.index_replicas import Dump, dump
from farsight.cli.index_report import EXIT_CODES, DiffReport, EndpointDiff, in_hex, report_of
from farsight.cli.index_tables import render_diff, render_dump
from farsight.cli.options import DEFAULT_ETCD, DEFAULT_NATS, AsJson, EtcdAddress, NatsUrl
from farsight.cli.output import console, write_json
from farsight.cli.records import connected, list_services
from farsight.discovery import ENDPOINT_ID, ENDPOINTS_PREFIX
from farsight.errors import BusUnavailable, EtcdUnavailable, InvalidField
from farsight.etcd import Etcd
from farsight.index.shards import IndexReplica

AT_ONCE = 4

app = typer.Typer(
    help="Look into the KV index: its blocks, and whether they are the right ones.",
    no_args_is_help=True,
)


@app.command()
def diff(
    endpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[ENDPOINT]...", help="Default: every one.")
    ] = None,
    etcd: EtcdAddress = DEFAULT_ETCD,
    nats: NatsUrl = DEFAULT_NATS,
    as_json: AsJson = False,
) -> None:
    """Compare what every indexer replica holds with the sidecars' mirrors, block by block.

    Both sides are compared after the same delta, while deltas flow: each sidecar is asked for a
    fresh snapshot.

    Exit code: 0 when all are equal, 1 when a block differs, 2 when something could not be compared.
    """
    if not nats.startswith(("nats://", "tls://")):
        raise InvalidField("--nats", f"nats://host:port, not {nats!r}")
    report = asyncio.run(_diff(etcd, nats, _checked(endpoints or [])))
    if as_json:
        write_json(report)
    else:
        console().print(render_diff(report))
    raise typer.Exit(EXIT_CODES[report.verdict])


@app.command(name="dump")
def dump_(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT")],
    replica: Annotated[
        str, typer.Option("--replica", metavar="ID", help="One indexer; default: all.")
    ] = "",
    as_lines: Annotated[
        bool,
        typer.Option("--json", help="Print every key of one replica, one JSON object a line."),
    ] = False,
    etcd: EtcdAddress = DEFAULT_ETCD,
) -> None:
    """Show what indexer replicas hold of an endpoint, by tier and KV group.

    With --json a first line names replica, epoch and delta; then comes a line for each key, of the
    replica that --replica names or the first that holds the endpoint.

    Exit code: 0; 1 when no replica holds the endpoint, 2 for bad arguments.
    """
    _checked([endpoint])
    dumps = asyncio.run(_dump(etcd, endpoint, replica))
    if as_lines:
        for line in _lines(endpoint, *dumps[0]):
            typer.echo(line)
    else:
        console().print(render_dump(dumps))


def _checked(endpoint_ids: Sequence[str]) -> Sequence[str]:
    """The ids as they are.

    :raises InvalidField: one cannot be an id.
    """
    for endpoint_id in endpoint_ids:
        if not ENDPOINT_ID.fullmatch(endpoint_id):
            raise InvalidField("ENDPOINT", f"{ENDPOINT_ID.pattern}, not {endpoint_id!r}")
    return endpoint_ids


async def _indexers(etcd: Etcd) -> list[IndexReplica]:
    listing = await list_services(etcd, "indexer")
    return [IndexReplica(r.replica_id, r.address, r.index_copies, r.ready) for r in listing.records]


async def _diff(etcd_address: str, nats_url: str, wanted: Sequence[str]) -> DiffReport:
    """Every endpoint at every replica.

    :raises CannotCompare: etcd or NATS is away, there is no indexer, or there is no endpoint.
    """
    try:
        async with connected(etcd_address) as etcd:
            replicas = await _indexers(etcd)
            registered, _ = await etcd.list_prefix(ENDPOINTS_PREFIX)
        endpoint_ids = list(dict.fromkeys(wanted)) or sorted(registered)
        if not replicas or not endpoint_ids:
            raise CannotCompare(f"no {'endpoint' if replicas else 'indexer'} is registered")
        async with mirrors_of(nats_url, endpoint_ids) as mirrors:
            turn = asyncio.Semaphore(AT_ONCE)

            async def one(endpoint_id: str, mirror: Mirror) -> EndpointDiff:
                async with turn:
                    return await diff_endpoint(endpoint_id, mirror, replicas)

            return report_of(tuple(await asyncio.gather(*map(one, mirrors, mirrors.values()))))
    except EtcdUnavailable as error:
        name = str(error).partition(": ")[0]
        raise CannotCompare(f"{name} does not answer; see --etcd") from error
    except BusUnavailable as error:
        raise CannotCompare(str(error)) from error


async def _dump(etcd_address: str, endpoint_id: str, replica_id: str) -> list[tuple[str, Dump]]:
    """What the replicas that hold the endpoint say, by replica id.

    :raises InvalidField: the replica is not registered.
    :raises NotHeld: none of them holds it, or none answers.
    """
    async with connected(etcd_address) as etcd:
        replicas = await _indexers(etcd)
    if replica_id:
        names = [replica.replica_id for replica in replicas]
        replicas = [replica for replica in replicas if replica.replica_id == replica_id]
        if not replicas:
            raise InvalidField("--replica", f"one of {names}, not {replica_id!r}")
    answers = await asyncio.gather(*(dump(r.address, endpoint_id) for r in replicas))
    named = [(r.replica_id, answer) for r, answer in zip(replicas, answers, strict=True)]
    dumps = [(name, answer) for name, answer in named if isinstance(answer, Dump)]
    if not dumps:
        away = [f"; {name}: {answer.why}" for name, answer in named if isinstance(answer, NoAnswer)]
        raise NotHeld(f"no indexer holds endpoint {endpoint_id}{''.join(away)}")
    return dumps


def _lines(endpoint_id: str, indexer: str, dumped: Dump) -> Iterator[str]:
    """The dump as JSON lines: what it is of, then its keys."""
    contents = dumped.contents
    head = {
        "endpoint_id": endpoint_id,
        "indexer": indexer,
        "confidence": dumped.confidence,
        "epoch": contents.epoch,
        "seq": contents.seq,
        "blocks": sum(keys.size for keys in contents.held.values()),
    }
    yield msgspec.json.encode(head).decode()
    for (tier, group), keys in sorted(contents.held.items()):
        for key in in_hex(keys):
            line = {"tier": TIERS[tier], "group": group, "key": key}
            yield msgspec.json.encode(line).decode()
