"""NATS: publish, subscribe, request and reply, objects, durable streams.

A Bus may be used before NATS is up and while it is away: subscriptions are made when it comes,
publishing says False and is counted, everything that needs an answer raises BusUnavailable.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    ConsumerConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BucketNotFoundError, NotFoundError, ObjectNotFoundError
from nats.js.object_store import ObjectStore

from farsight import metrics, objects
from farsight.cancellation import cancellation_kept
from farsight.errors import BusUnavailable
from farsight.log import get_logger
from farsight.subjects import OBJECT_TTL_S

log = get_logger(__name__)

Handler = Callable[[str, bytes], None]
RETRY_S = 0.5
RECONNECT_S = 0.2
CALL_TIMEOUT_S = 5.0
OBJECT_TIMEOUT_S = 20.0
# Of one subscription: seconds of a full stream, so that only a process that is stuck loses any.
PENDING_MESSAGES = 512 * 1024
PENDING_BYTES = 128 << 20
# How long one subscription's handler is called before others have a turn.
TURN_S = 0.0005
WAITING_MESSAGES = 256
_TROUBLE = (nats.errors.Error, TimeoutError, OSError)


@contextmanager
def _answered(what: str) -> Iterator[None]:
    """What NATS refuses or does not answer becomes BusUnavailable."""
    try:
        with cancellation_kept():
            yield
    except _TROUBLE as error:
        raise BusUnavailable(f"{what}: {error!r}") from error


@dataclass(slots=True)
class Subscription:
    """Something that listens on a subject until it is closed."""

    subject: str
    deliver: Callable[[Msg], Awaitable[None]]
    live: Any = None
    closed: bool = False

    @property
    def waiting(self) -> int:
        """Messages that were read and not handled yet."""
        return 0 if self.live is None else int(self.live.pending_msgs)

    async def close(self) -> None:
        """Stop listening."""
        self.closed = True
        if self.live is not None:
            with contextlib.suppress(*_TROUBLE):
                await self.live.unsubscribe()


class Bus:
    """One NATS connection that comes back by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = Client()
        self._waiting: list[Subscription] = []
        self._on_reconnect: list[Callable[[], None]] = []
        self._up = asyncio.Event()
        self._listening: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """NATS is reachable now."""
        return self._client.is_connected

    async def run(self) -> None:
        """Connect, and make the subscriptions that were asked for before; then return."""
        while not self._client.is_connected:
            try:
                await self._client.connect(
                    servers=[self.url],
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type] # any number does
                    connect_timeout=2,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    error_cb=self._error,
                    allow_reconnect=True,
                )
            except _TROUBLE:
                await asyncio.sleep(RETRY_S)
        metrics.bus_connected.set(1)
        self._up.set()
        for subscription in self._waiting:
            await self._listen(subscription)
        self._waiting.clear()
        for callback in self._on_reconnect:
            callback()

    async def close(self) -> None:
        """Send what is pending and disconnect."""
        if self._client.is_connected:
            with contextlib.suppress(*_TROUBLE):
                await self._client.flush(1)
        with contextlib.suppress(*_TROUBLE):
            await self._client.close()

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time NATS has come (back)."""
        self._on_reconnect.append(callback)

    async def _disconnected(self) -> None:
        metrics.bus_connected.set(0)
        log.warning("NATS is away", extra={"url": self.url})

    async def _reconnected(self) -> None:
        metrics.bus_connected.set(1)
        log.info("NATS is back", extra={"url": self.url})
        for callback in self._on_reconnect:
            callback()

    async def _error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            metrics.bus_dropped.labels("slow-consumer").inc()
        if isinstance(error, _TROUBLE):
            log.debug("NATS error", extra={"error": repr(error)})
        else:
            metrics.bus_dropped.labels("handler-failed").inc()
            log.error("a message's handler failed", exc_info=error)

    async def publish(self, subject: str, payload: bytes, kind: str = "other") -> bool:
        """Send and forget; False, and counted under `kind`, when NATS is away."""
        if self._client.is_connected:
            try:
                await self._client.publish(subject, payload)
                return True
            except _TROUBLE as error:
                log.debug("publish failed", extra={"subject": subject, "error": repr(error)})
        metrics.bus_dropped.labels(kind).inc()
        return False

    async def flush(self) -> None:
        """Wait until the server has what was published.

        :raises BusUnavailable: NATS is away.
        """
        with _answered(f"NATS {self.url}"):
            # The client writes a PING past what it still buffers; a second one comes after that.
            await self._client.flush(2)
            await self._client.flush(2)

    def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Call `handler(subject, payload)` for each message; it must be quick.

        Messages that come faster than they are handled wait, up to `PENDING_BYTES`; what comes
        then is dropped and counted.
        """
        turn_ends_s = 0.0

        async def deliver(message: Msg) -> None:
            nonlocal turn_ends_s
            handler(message.subject, message.data)
            # The client does not yield while messages wait. Yielding also lets it read more, so
            # that a long queue is worked off first: the server holds back what is not read.
            if time.monotonic() >= turn_ends_s and subscription.waiting <= WAITING_MESSAGES:
                await asyncio.sleep(0)
                turn_ends_s = time.monotonic() + TURN_S

        subscription = Subscription(subject, deliver)
        return self._add(subscription)

    def serve(self, subject: str, handler: Callable[[bytes], Awaitable[bytes]]) -> Subscription:
        """Answer requests on a subject; a handler that raises BusUnavailable answers nothing."""

        async def deliver(message: Msg) -> None:
            try:
                answer = await handler(message.data)
                await message.respond(answer)
            except (BusUnavailable, *_TROUBLE) as error:
                log.warning("request not answered", extra={"subject": subject, "error": str(error)})

        return self._add(Subscription(subject, deliver))

    def _add(self, subscription: Subscription) -> Subscription:
        if not self._up.is_set():
            self._waiting.append(subscription)
            return subscription
        task = asyncio.create_task(self._listen(subscription))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
        return subscription

    async def _listen(self, subscription: Subscription) -> None:
        with contextlib.suppress(*_TROUBLE):
            subscription.live = await self._client.subscribe(
                subscription.subject,
                cb=subscription.deliver,
                pending_msgs_limit=PENDING_MESSAGES,
                pending_bytes_limit=PENDING_BYTES,
            )
            if subscription.closed:
                await subscription.live.unsubscribe()

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Ask and wait for one answer.

        :raises BusUnavailable: nobody answered in time.
        """
        self._require()
        with _answered(f"request on {subject}"):
            return bytes((await self._client.request(subject, payload, timeout=timeout_s)).data)

    def _require(self) -> None:
        if not self._client.is_connected:
            raise BusUnavailable(f"NATS {self.url} is away")

    def _js(self) -> JetStreamContext:
        self._require()
        return self._client.jetstream(timeout=CALL_TIMEOUT_S)

    async def _bucket(self, bucket: str) -> ObjectStore:
        """The bucket; one that is there already stays as it is configured."""
        js = self._js()
        try:
            return await js.object_store(bucket)
        except (BucketNotFoundError, NotFoundError):
            config = ObjectStoreConfig(ttl=OBJECT_TTL_S.get(bucket))
            return await js.create_object_store(bucket, config)

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        """Store an object; one of the same name is replaced.

        :raises BusUnavailable: it could not be stored.
        """
        with _answered(f"object {bucket}/{name}"):
            await (await self._bucket(bucket)).put(name, data)

    async def get_object(self, bucket: str, name: str, max_bytes: int) -> bytes | None:
        """Fetch an object and check its digest; None when there is none.

        :raises BusUnavailable: it could not be fetched.
        :raises BadRecord: it is larger than `max_bytes`.
        """
        with _answered(f"object {bucket}/{name}"):
            try:
                store = await self._bucket(bucket)
                async with asyncio.timeout(OBJECT_TIMEOUT_S):
                    return await objects.fetch(self._js(), store, bucket, name, max_bytes)
            except (ObjectNotFoundError, NotFoundError):
                return None

    async def delete_object(self, bucket: str, name: str) -> None:
        """Remove an object; it may be gone already.

        :raises BusUnavailable: NATS did not answer.
        """
        with _answered(f"object {bucket}/{name}"), contextlib.suppress(NotFoundError):
            await (await self._bucket(bucket)).delete(name)

    async def list_objects(self, bucket: str) -> list[str]:
        """Names of the objects in a bucket.

        :raises BusUnavailable: NATS did not answer.
        """
        with _answered(f"bucket {bucket}"):
            try:
                entries = await (await self._bucket(bucket)).list(ignore_deletes=True)
                return [entry.name for entry in entries]
            except NotFoundError:
                return []

    async def purge(self) -> None:
        """Delete every stream and bucket: for tests and a fresh demo.

        :raises BusUnavailable: NATS did not answer.
        """
        js = self._js()
        with _answered("purge"):
            for info in await js.streams_info():
                await js.delete_stream(str(info.config.name))

    async def ensure_stream(
        self, name: str, subjects: Sequence[str], max_bytes: int, max_age_s: float
    ) -> None:
        """Create a file-backed stream that drops its oldest messages at its limits; one that is
        there already stays as it is.

        :raises BusUnavailable: NATS did not answer.
        """
        config = StreamConfig(
            name=name,
            subjects=list(subjects),
            max_bytes=max_bytes,
            max_age=max_age_s,
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            duplicate_window=min(120, max_age_s),
        )
        js = self._js()
        with _answered(f"stream {name}"):
            try:
                await js.stream_info(name)
            except NotFoundError:
                await js.add_stream(config)

    async def publish_durable(self, subject: str, payload: bytes, dedupe_id: str = "") -> None:
        """Publish to a stream and wait until it is stored.

        :raises BusUnavailable: it was not stored.
        """
        headers = {"Nats-Msg-Id": dedupe_id} if dedupe_id else None
        js = self._js()
        with _answered(f"publish to {subject}"):
            await js.publish(subject, payload, timeout=CALL_TIMEOUT_S, headers=headers)

    async def consume(
        self,
        stream: str,
        durable: str | None,
        handler: Callable[[list[bytes]], Awaitable[None]],
        batch: int,
    ) -> None:
        """Hand every message of a stream to `handler`, oldest first, then those that come.

        With a durable name the position survives this process; without, everything is read again.
        Acknowledged after `handler` returns.

        :raises BusUnavailable: the stream is away; call again.
        """
        config = ConsumerConfig(inactive_threshold=60.0) if durable is None else None
        js = self._js()
        with _answered(f"stream {stream}"):
            puller = await js.pull_subscribe(">", durable=durable, stream=stream, config=config)
            while True:
                with cancellation_kept():
                    try:
                        messages = await puller.fetch(batch, timeout=1)
                    except nats.errors.TimeoutError:
                        await js.stream_info(stream)
                        continue
                await handler([bytes(m.data) for m in messages])
                for message in messages:
                    await message.ack()
