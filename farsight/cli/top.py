"""`farsight top`: what the routers do, live."""

import asyncio
import contextlib
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from farsight.cli.options import DEFAULT_ETCD, EtcdAddress
from farsight.cli.output import console
from farsight.cli.records import connected
from farsight.cli.top_table import fetch, render
from farsight.etcd import Etcd


def top(
    etcd: EtcdAddress = DEFAULT_ETCD,
    interval_s: Annotated[
        float,
        typer.Option("--interval-s", min=0.1, max=3600, help="Seconds between two tables."),
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
) -> None:
    """Show a live table of the endpoints, from the Status of every router; Ctrl-C ends it.

    Requests and tokens are sums since the routers started. Cached tokens count finished requests
    whose engine reported them; the share is of their prompt tokens. TTFTs are means of recent
    requests. The index confidence is the one of the last decision.

    Exit code: 0; 1 when etcd, or with --once every router, is away.
    """
    with contextlib.suppress(KeyboardInterrupt):
        if not asyncio.run(_top(etcd, interval_s, once)):
            raise typer.Exit(1)


async def _top(address: str, interval_s: float, once: bool) -> bool:
    """False when there is nothing to show."""
    out = console()
    async with connected(address) as etcd:
        if not once:
            await _follow(etcd, interval_s, out)
        state = await fetch(etcd)
        out.print(render(state))
        return bool(state.decisions)


async def _follow(etcd: Etcd, interval_s: float, out: Console) -> None:
    """Redraw the table for ever."""
    state = await fetch(etcd)
    with Live(render(state), console=out, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(interval_s)
            state = await fetch(etcd, state)
            live.update(render(state), refresh=True)
