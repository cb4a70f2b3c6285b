"""Waiting for processes that never become ready."""

from pathlib import Path

import pytest

from farsight.local.errors import NotReady, ProcessEnded
from farsight.local.ready import State, grpc_serving, http_ok, wait_ready
from farsight.local.supervisor import Supervisor
from tests.farsight.local.children import SLEEP, python


async def never() -> bool:
    """A probe that never holds."""
    return False


async def test_a_process_that_ends_stops_the_waiting(tmp_path: Path) -> None:
    """The error carries the end of the log, and progress says failed."""
    told: list[State] = []
    async with Supervisor(tmp_path) as supervisor:
        process = supervisor.add(python("print('no disk'); raise SystemExit(4)"))
        await process.start()

        with pytest.raises(ProcessEnded, match="no disk"):
            await wait_ready(process, never, 15, lambda name, state, seconds: told.append(state))

    assert told[-1] is State.FAILED


async def test_a_limit_ends_the_waiting(tmp_path: Path) -> None:
    """A process that runs and never answers is named."""
    async with Supervisor(tmp_path) as supervisor:
        process = supervisor.add(python(SLEEP))
        await process.start()

        with pytest.raises(NotReady, match="child is not ready"):
            await wait_ready(process, never, 0.1)


async def test_probes_of_nothing_are_false(unused_tcp_port: int) -> None:
    """Nobody listens: not ready, no error."""
    assert not await http_ok(f"http://127.0.0.1:{unused_tcp_port}/")()
    assert not await grpc_serving(f"127.0.0.1:{unused_tcp_port}")()
