"""`farsight top`: merged states, the table, the command."""

import signal

import pytest

from farsight.cli.top_state import TopState, fetch, merge
from farsight.cli.top_table import render
from farsight.etcd import Etcd
from farsight.pb.router_pb2 import EndpointStatus, ModelStatus, RouterStatusReply
from farsight.pb.types_pb2 import Confidence
from tests.conftest import free_port
from tests.farsight.cli.fleet import ended, farsight, register, started, whole_fleet
from tests.farsight.cli.shown import CUT, shown
from tests.waiting import eventually

EXACT, DEGRADED = Confidence.CONFIDENCE_EXACT, Confidence.CONFIDENCE_DEGRADED


def reply(replica_id: str, decisions: int, *endpoints: EndpointStatus) -> RouterStatusReply:
    """A router's answer."""
    return RouterStatusReply(
        replica_id=replica_id,
        profile="predicted",
        decisions=decisions,
        models=[ModelStatus(model="tiny", bundle_version=decisions)],
        fallbacks={"index-timeout": 1},
        endpoints=endpoints,
    )


def seen(requests: int, ttft_ms: float, confidence: Confidence.ValueType) -> EndpointStatus:
    """A router's view of e0."""
    return EndpointStatus(
        endpoint_id="e0",
        model="tiny",
        confidence=confidence,
        requests=requests,
        in_flight_requests=4,
        cached_tokens_predicted=1200,
        cached_tokens_actual=1000,
        prompt_tokens=2000,
        ttft_predicted_ms=ttft_ms,
        ttft_actual_ms=2 * ttft_ms,
        load_age_ms=requests,
        inhibited=confidence == DEGRADED,
    )


def merged(*replies: RouterStatusReply, previous: TopState | None = None) -> TopState:
    """One state at 10 s."""
    return merge(replies, ["r:1", "r:2"], [], 10.0, previous)


def test_sums_and_shared_views() -> None:
    """Own counts are added, what all routers know counts once, the worst state wins."""
    state = merged(reply("a", 5, seen(30, 40, EXACT)), reply("b", 7, seen(10, 80, DEGRADED)))

    (row,) = state.endpoints
    assert (row.requests, row.in_flight_requests) == (40, 4)
    assert (row.cached_tokens_predicted, row.cached_tokens_actual) == (2400, 2000)
    assert (row.ttft_predicted_ms, row.ttft_actual_ms) == (50, 100)
    assert (row.confidence, row.load_age_ms, row.is_inhibited) == ("DEGRADED", 30, True)
    assert state.bundle_versions == {"tiny": 7}
    assert state.fallbacks == {"index-timeout": 2}


def test_rate() -> None:
    """Decisions per second leave out routers that are new or were restarted."""
    before = merge([reply("a", 5), reply("b", 100)], [], [], 8.0, None)

    state = merged(reply("a", 25), reply("b", 3), reply("c", 50), previous=before)

    assert before.decisions_per_s is None
    assert state.decisions_per_s == pytest.approx(10)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_table(columns: int) -> None:
    """Every figure is readable at every width."""
    state = merged(reply("a", 5, seen(30, 40, EXACT)), reply("b", 7, seen(10, 80, EXACT)))

    page = shown(render(state), columns)

    assert CUT not in page
    assert all(len(line) <= columns for line in page.splitlines())
    row = next(line for line in page.splitlines() if line.strip().startswith("e0"))
    for figure in ("40", "2,400  60%", "2,000  50%", "50.0", "100", "exact", "30 ms"):
        assert figure in row
    assert "2 of 2 routers" in page
    assert "model tiny: bundle 7" in page
    assert "index-timeout 2" in page


def test_left_out_endpoint() -> None:
    """An endpoint that failed moments ago is marked."""
    assert "left out" in shown(render(merged(reply("a", 1, seen(1, 40, DEGRADED)))))


def test_nothing_known() -> None:
    """Without requests there are dashes, without routers a sentence."""
    empty = EndpointStatus(endpoint_id="e0", load_age_ms=2**32 - 1)

    assert "never" in shown(render(merged(reply("a", 0, empty))))
    assert "no endpoint is registered" in shown(render(merged(reply("a", 0))))
    assert "no router is registered" in shown(render(merge([], [], [], 1.0, None)))


async def test_state_outlives_etcd(etcd: Etcd) -> None:
    """While etcd is away the routers of the state before are asked."""
    async with whole_fleet(etcd) as fleet:
        before = await fetch(etcd)
        away = Etcd(f"127.0.0.1:{free_port()}")
        state = await fetch(away, before)
        await away.close()

    assert state.routers == (fleet.router.address,)
    assert state.decisions == {"router-0": 42}
    assert state.away == (f"etcd {away.address} does not answer",)


async def test_once(etcd: Etcd) -> None:
    """`--once` prints one table and ends; a dead router is named."""
    async with whole_fleet(etcd):
        address = f"127.0.0.1:{free_port()}"
        await etcd.put(
            "/farsight/services/router/dead",
            f'{{"kind":"router","replica_id":"dead","address":"{address}"}}'.encode(),
        )
        outcome = await farsight("top", "--etcd", etcd.address, "--once")

    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "1 of 2 routers" in outcome.out
    assert f"router {address}: unreachable" in outcome.out
    assert "1,536  75%" in outcome.out


async def test_live_until_interrupted(etcd: Etcd) -> None:
    """The table is fetched again and again; Ctrl-C is the normal end."""
    async with whole_fleet(etcd) as fleet:
        arguments = ("top", "--etcd", etcd.address, "--interval-s", "0.1")
        async with started(*arguments) as process:
            await eventually(lambda: fleet.router.status_calls >= 3)
            process.send_signal(signal.SIGINT)
            outcome = await ended(process)

    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "decisions 42, 0.0/s" in outcome.out


async def test_no_router_answers(etcd: Etcd) -> None:
    """`--once` without any router that answers ends with exit code 1."""
    await register(etcd, "router", f"127.0.0.1:{free_port()}")

    outcome = await farsight("top", "--etcd", etcd.address, "--once")

    assert outcome.exit_code == 1
    assert "unreachable" in outcome.out
