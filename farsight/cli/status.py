"""`farsight status`: what is there, what is away, what is degraded."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from farsight.cli import status_tables
from farsight.cli.options import DEFAULT_ETCD, AsJson, EtcdAddress
from farsight.cli.output import console, write_json
from farsight.cli.records import connected
from farsight.cli.status_problems import judge
from farsight.cli.status_read import read_fleet
from farsight.cli.status_report import Fleet


class OptionalKind(StrEnum):
    """Services that a fleet can do without."""

    TRAINER = "trainer"
    GATEWAY = "gateway"


def status(
    etcd: EtcdAddress = DEFAULT_ETCD,
    as_json: AsJson = False,
    without: Annotated[
        list[OptionalKind] | None,
        typer.Option("--without", help="A service that this fleet runs without; repeatable."),
    ] = None,
) -> None:
    """Show services, endpoints, latency bundles and the KV index, and say what is away.

    Asks etcd, then every replica at the same time for 2 s at most. Lag is in KV deltas that were
    announced and not applied; device and host are blocks held there.

    Exit code: 0 when all is whole, 1 when something is missing or DEGRADED.
    """
    report = judge(asyncio.run(_read(etcd)), without or ())
    if as_json:
        write_json(report)
    else:
        console().print(status_tables.render(report))
    if not report.is_whole:
        raise typer.Exit(1)


async def _read(address: str) -> Fleet:
    async with connected(address) as etcd:
        return await read_fleet(etcd)
