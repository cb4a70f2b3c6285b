"""A small engine: the HTTP pages, the PUB stream and the replay ring of vLLM, without a model.

It speaks the wire of vLLM 0.32 on free loopback ports. `restart` gives it a new life at the same
addresses. Cache contents are the test's business: it says which events are published.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import msgspec
import zmq
import zmq.asyncio
from aiohttp import web

_END = b"\xff" * 8

EventMap = dict[str, Any]


def stored(
    hashes: Sequence[int | bytes],
    tokens: Sequence[int],
    *,
    parent: int | bytes | None = None,
    block_size: int = 16,
    medium: str | None = "GPU",
    lora_name: str | None = None,
    extra_keys: Sequence[Any] | None = None,
    group_idx: int = 0,
    kind: str = "full_attention",
) -> EventMap:
    """A BlockStored event as vLLM 0.32 sends it."""
    return {
        "type": "BlockStored",
        "block_hashes": list(hashes),
        "parent_block_hash": parent,
        "token_ids": list(tokens),
        "block_size": block_size,
        "lora_id": None if lora_name is None else 1,
        "medium": medium,
        "lora_name": lora_name,
        "extra_keys": [None] * len(hashes) if extra_keys is None else list(extra_keys),
        "group_idx": group_idx,
        "kv_cache_spec_kind": kind,
    }


def removed(
    hashes: Sequence[int | bytes], *, medium: str | None = "GPU", group_idx: int = 0
) -> EventMap:
    """A BlockRemoved event."""
    return {
        "type": "BlockRemoved",
        "block_hashes": list(hashes),
        "medium": medium,
        "group_idx": group_idx,
    }


def cleared() -> EventMap:
    """An AllBlocksCleared event."""
    return {"type": "AllBlocksCleared"}


def body_of(events: Sequence[Any], ts: float = 1.0) -> bytes:
    """A batch body."""
    return msgspec.msgpack.encode([ts, list(events), 0])


class FakeEngine:
    """One engine with one rank; an async context manager."""

    def __init__(
        self,
        *,
        model: str = "tiny",
        loras: Sequence[str] = (),
        block_size: int = 16,
        kv_blocks: int = 1000,
        ring_batches: int = 10_000,
        with_events: bool = True,
    ) -> None:
        self.model = model
        self.loras = list(loras)
        self.block_size = block_size
        self.kv_blocks = kv_blocks
        self.running_requests = 0
        self.waiting_requests = 0
        self.is_healthy = True
        self.process_start_s = 1000.0
        self.port = 0
        self.replays = 0
        self.answers_replays = asyncio.Event()
        self.answers_replays.set()
        self._with_events = with_events
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=ring_batches)
        self._seq = 0
        self._context = zmq.asyncio.Context()
        self._pub_port = 0
        self._replay_port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "FakeEngine":
        await self._open_sockets()
        await self._open_http()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.die()
        self._context.destroy(linger=0)

    async def _open_sockets(self) -> None:
        self._pub = self._context.socket(zmq.PUB)
        self._router = self._context.socket(zmq.ROUTER)
        for socket in (self._pub, self._router):
            socket.set(zmq.LINGER, 0)
        self._pub_port = await _bind(self._pub, self._pub_port)
        self._replay_port = await _bind(self._router, self._replay_port)
        self._replaying = asyncio.create_task(self._serve_replays())

    async def _open_http(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._models),
                web.get("/version", self._version),
                web.get("/kv_event_sources", self._sources),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def die(self) -> None:
        """Close every socket, as a killed process does."""
        if self._runner is None:
            return
        self._replaying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._replaying
        self._pub.close(linger=0)
        self._router.close(linger=0)
        await self._runner.cleanup()
        self._runner = None

    async def restart(self) -> None:
        """A new process at the same addresses: empty cache and ring, sequence from 0."""
        await self.die()
        self._ring.clear()
        self._seq = 0
        self.process_start_s += 100
        await self._open_sockets()
        await self._open_http()

    async def publish(self, *events: EventMap) -> int:
        """One batch with a good copy in the ring; its sequence number."""
        return await self.publish_body(body_of(events, time.time()))

    async def publish_body(self, body: bytes, *, retained: bytes | None = None) -> int:
        """One batch as given; `retained` is what the ring keeps in its place."""
        seq = self.retain(body if retained is None else retained)
        await self._pub.send_multipart([b"kv@fake@tiny", seq.to_bytes(8, "big"), body])
        return seq

    def retain(self, body: bytes) -> int:
        """A batch that subscribers never get: it is in the ring alone."""
        seq = self._seq
        self._seq += 1
        self._ring.append((seq, body))
        return seq

    def forget(self, seq: int) -> None:
        """Take one batch out of the ring."""
        kept = [item for item in self._ring if item[0] != seq]
        self._ring.clear()
        self._ring.extend(kept)

    async def _serve_replays(self) -> None:
        while True:
            client, _, start = await self._router.recv_multipart()
            self.replays += 1
            await self.answers_replays.wait()
            for seq, body in list(self._ring):
                if seq >= int.from_bytes(start, "big"):
                    answer = [client, b"", b"kv@fake@tiny", seq.to_bytes(8, "big"), body]
                    await self._router.send_multipart(answer)
            await self._router.send_multipart([client, b"", b"", _END, b""])

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_healthy else 503)

    async def _models(self, _: web.Request) -> web.Response:
        base = {"id": self.model, "root": f"/models/{self.model}", "parent": None}
        adapters = [{"id": name, "root": name, "parent": self.model} for name in self.loras]
        return web.json_response({"data": [{**base, "max_model_len": 4096}, *adapters]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _sources(self, _: web.Request) -> web.Response:
        if not self._with_events:
            return web.json_response({})
        rank = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": f"tcp://*:{self._pub_port}",
            "replay_endpoint": f"tcp://*:{self._replay_port}",
            "buffer_steps": self._ring.maxlen,
        }
        return web.json_response({"0": rank})

    async def _metrics(self, _: web.Request) -> web.Response:
        rank = f'engine="0",model_name="{self.model}"'
        usage = min(self.running_requests / 10, 1)
        return web.Response(
            text=(
                "# HELP process_start_time_seconds Start time of the process.\n"
                f"process_start_time_seconds {self.process_start_s}\n"
                f"vllm:num_requests_running{{{rank}}} {float(self.running_requests)}\n"
                f"vllm:num_requests_waiting{{{rank}}} {float(self.waiting_requests)}\n"
                f"vllm:kv_cache_usage_perc{{{rank}}} {usage}\n"
                f'vllm:cache_config_info{{block_size="{self.block_size}",engine="0",'
                f'num_gpu_blocks="{self.kv_blocks}"}} 1.0\n'
            )
        )


async def _bind(socket: zmq.asyncio.Socket, port: int) -> int:
    """Bind to a port, 0 for a free one; the port."""
    if not port:
        return int(socket.bind_to_random_port("tcp://127.0.0.1"))
    for _ in range(100):
        try:
            socket.bind(f"tcp://127.0.0.1:{port}")
            return port
        except zmq.ZMQError:  # ZMQ closes the socket of the former life in its own time
            await asyncio.sleep(0.02)
    raise RuntimeError(f"port {port} stays in use")
