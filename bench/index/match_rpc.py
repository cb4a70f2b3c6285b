"""`Index.Match` over gRPC, 450 keys and 64 endpoints, beside an echo of the same sizes.

The indexer is `python -m services.indexer` with its state from NATS, on the measured core; the echo
server, on the same core, is idle while it is asked, and the other way round. Requests and answers
are of the same bytes, from one client; the two take turns, and ratios are medians over the turns.
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from subprocess import Popen

from bench.index import prompts, servers
from bench.index.calls import Caller, Method
from bench.index.echo_server import PATH, EchoServer
from bench.index.processes import Cores, Worker, cpu_s
from bench.index.progress import Progress
from bench.index.prompts import Prompts
from bench.index.scripted_sidecars import ScriptedSidecars
from bench.index.sizes import Sizes
from farsight.keys import pack
from farsight.local.ports import Ports
from farsight.local.process import Command
from farsight.pb import types_pb2
from farsight.pb.index_pb2 import MatchReply, MatchRequest

MATCH = "/farsight.v1.Index/Match"
EXACT_LIMIT_S = 60.0
IN_FLIGHT = 16
PROMPTS = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A method, and the process that answers it."""

    method: Method
    pid: int

    def measured(self, caller: Worker[Caller], in_flight: int, seconds: float) -> dict[str, float]:
        """One turn: median, requests a second, and processor time a request."""
        before_s = cpu_s(self.pid)
        p50_ms, rate, calls = caller.do(Caller.measure, self.method, in_flight, seconds)
        cpu_us = cpu_s(self.pid, before_s) / calls * 1e6
        return {"p50_ms": p50_ms, "rate": rate, "cpu_us": cpu_us}


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`match_rpc_p50_over_echo`, `match_rpc16_rate_over_echo`, and the absolute figures."""
    given = partial(prompts.build, PROMPTS, sizes.prompt_blocks, sizes.endpoints)
    with ExitStack() as stack:
        ports = stack.enter_context(Ports())
        nats, etcd = stack.enter_context(servers.nats()), stack.enter_context(servers.etcd())
        ready = Progress()
        scripted = partial(ScriptedSidecars, nats, given, sizes.endpoints, ready)
        stack.enter_context(Worker(scripted, cores.load)).start(ScriptedSidecars.serve)
        ready.wait_for(1)
        caller = stack.enter_context(Worker(Caller, cores.load))
        port = ports.take()
        service = stack.enter_context(indexer(port, nats, etcd, cores.measured))
        request = MatchRequest(keys=pack(given().keys[0]), endpoint_ids=ids(sizes.endpoints))
        match = Method(f"127.0.0.1:{port}", MATCH, request.SerializeToString())
        answer = until_exact(caller, match, given())
        echo = Method(f"127.0.0.1:{ports.take()}", PATH, match.request)
        ready = Progress()
        made = partial(EchoServer, echo.address, answer, ready)
        server = stack.enter_context(Worker(made, cores.measured))
        server.start(EchoServer.serve)
        ready.wait_for(1)
        asked = {"match_rpc": Asked(match, service.pid), "echo_rpc": Asked(echo, server.pid)}
        return in_turns(caller, asked, sizes)


def ids(endpoints: int) -> list[str]:
    """Of the scripted endpoints."""
    return [f"e{slot}" for slot in range(endpoints)]


def indexer(port: int, nats: str, etcd: str, core: int) -> AbstractContextManager[Popen[bytes]]:
    """The service as a process on a core."""
    flags = (f"--listen=127.0.0.1:{port}", f"--nats={nats}", f"--etcd={etcd}")
    command = Command("indexer", (sys.executable, "-m", "services.indexer", *flags))
    return servers.serving(command, port, lambda: os.sched_setaffinity(0, {core}))


def until_exact(caller: Worker[Caller], method: Method, given: Prompts) -> bytes:
    """The answer once every endpoint is EXACT; it has the depths that were put in."""
    deadline = time.monotonic() + EXACT_LIMIT_S
    while time.monotonic() < deadline:
        data = caller.do(Caller.reply, method)
        reply = MatchReply.FromString(data)
        exact = [c == types_pb2.CONFIDENCE_EXACT for c in reply.confidence]
        if len(exact) == given.depths.shape[1] and all(exact):
            assert list(reply.device_blocks) == given.depths[0].tolist()
            return data
        time.sleep(0.1)
    raise TimeoutError("the indexer does not become EXACT")


def in_turns(caller: Worker[Caller], asked: Mapping[str, Asked], sizes: Sizes) -> dict[str, float]:
    """Both methods at 1 and at IN_FLIGHT calls in flight, one after the other, again and again."""
    found: dict[str, list[float]] = {}
    for _ in range(sizes.repetitions):
        for in_flight in (1, IN_FLIGHT):
            turn = {
                f"{name}{in_flight}_{what}": value
                for name, method in asked.items()
                for what, value in method.measured(caller, in_flight, sizes.rpc_s).items()
            }
            for what in ("p50_ms", "rate", "cpu_us"):
                ratio = turn[f"match_rpc{in_flight}_{what}"] / turn[f"echo_rpc{in_flight}_{what}"]
                turn[f"match_rpc{in_flight}_{what.partition('_')[0]}_over_echo"] = ratio
            for name, value in turn.items():
                found.setdefault(name, []).append(value)
    medians = {name: median(values) for name, values in found.items()}
    medians["match_rpc_p50_over_echo"] = medians.pop("match_rpc1_p50_over_echo")
    return medians
