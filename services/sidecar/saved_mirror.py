"""Keeps the mirror itself in the NATS object store, for the next sidecar beside the same engine.

An engine retains only its last batches. A sidecar that starts later than that could not know what
lies in the cache; with the mirror of the sidecar before it, and every batch since, it can. The
mirror is stored with the engine's position, as often as needed for the ring to reach back to it:
each time a quarter of the ring has been published since. Only a whole mirror is stored, so what is
there stays good when the mirror of a later moment is not whole.

A stored mirror is used by an epoch of the same engine process alone, and only if the engine still
retains the last batch that it contains: the stream checks that, and refuses it otherwise.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from farsight.bus import Bus
from farsight.errors import BadRecord, BusUnavailable
from farsight.log import get_logger
from farsight.subjects import MIRROR_BUCKET, OBJECT_TTL_S, token
from services.sidecar import metrics, mirror_state
from services.sidecar.mirror_state import MirrorState
from services.sidecar.stream import EnginePosition

log = get_logger(__name__)

FORMAT = 1
MAX_BYTES = 512 * 1024 * 1024
RING_SHARE = 0.25
CHECK_S = 0.5
RENEW_S = OBJECT_TTL_S[MIRROR_BUCKET] * 0.4
CONNECT_S = 10.0
STOP_S = 5.0

Text = Annotated[str, Meta(max_length=4096)]


class EngineLife(Struct, frozen=True):
    """The process that a mirror belongs to; its start is None where the engine does not tell it."""

    process_start_unix_s: float | None
    replay: Text


class _Saved(Struct, frozen=True, array_like=True):
    format: int
    life: EngineLife
    next_seq: Annotated[int, Meta(ge=1, le=2**62)]
    last_engine_unix_s: float | None
    state: bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """A mirror and how far its engine's batches have been applied to it."""

    position: EnginePosition
    state: MirrorState


_decoder = msgspec.msgpack.Decoder(_Saved)


def encode(life: EngineLife, moment: Moment) -> bytes:
    """A saved mirror."""
    at = moment.position
    state = mirror_state.encode(moment.state)
    return msgspec.msgpack.encode(_Saved(FORMAT, life, at.next_seq, at.last_engine_unix_s, state))


def decode(data: bytes) -> tuple[EngineLife, Moment]:
    """The opposite.

    :raises BadRecord: it is of another format, or damaged.
    """
    try:
        saved = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"saved mirror: {error}") from error
    if saved.format != FORMAT:
        raise BadRecord(f"saved mirror: format {saved.format}, expected {FORMAT}")
    if saved.last_engine_unix_s is None:
        raise BadRecord("saved mirror: no time to know its last batch by")
    position = EnginePosition(saved.next_seq, saved.last_engine_unix_s)
    return saved.life, Moment(position, mirror_state.decode(saved.state))


class SavedMirror:
    """The saved mirror of one endpoint during one life of its engine.

    :param ring_batches: how many batches the engine retains.
    """

    def __init__(
        self,
        bus: Bus,
        endpoint_id: str,
        life: EngineLife,
        ring_batches: int,
        *,
        renew_s: float = RENEW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._name = token(endpoint_id)
        self._life = life
        self._every = max(int(ring_batches * RING_SHARE), 1)
        self._renew_s = renew_s
        self._clock = clock
        self._stored_seq = 0
        self._stored_at = clock()
        self._is_refused = False

    async def load(self) -> Moment | None:
        """What is stored, if it can be gone on with; why not is counted."""
        if self._is_refused:
            return None
        result, found = await self._load()
        metrics.saved_mirrors.labels(result).inc()
        log.info("saved mirror", extra={"result": result})
        return found

    async def _load(self) -> tuple[str, Moment | None]:
        for _ in range(int(CONNECT_S / 0.1)):  # without NATS nobody would read a delta either
            if self._bus.connected:
                break
            await asyncio.sleep(0.1)
        try:
            data = await self._bus.get_object(MIRROR_BUCKET, self._name, MAX_BYTES)
            if data is None:
                return "missing", None
            life, moment = await asyncio.to_thread(decode, data)
        except BusUnavailable:
            return "unavailable", None
        except BadRecord as error:
            log.warning("saved mirror not readable", extra={"error": str(error)})
            return "bad", None
        if life != self._life:
            return "other-engine", None
        self._stored_seq, self._stored_at = moment.position.next_seq, self._clock()
        return "loaded", moment

    def refuse(self, reason: str) -> None:
        """The stored mirror does not fit the engine: it is not used again."""
        if not self._is_refused:
            metrics.saved_mirrors.labels(reason).inc()
        self._is_refused = True
        self._stored_seq = 0

    def forget(self) -> None:
        """What was stored may be gone."""
        self._stored_seq = 0

    async def run(
        self,
        position: Callable[[], EnginePosition | None],
        moment: Callable[[], Awaitable[Moment | None]],
    ) -> None:
        """Store the mirror when it is due; never returns.

        :param position: where the stream is; None while the mirror is not whole.
        :param moment: an instant with the mirror.
        """
        while True:
            await asyncio.sleep(CHECK_S)
            now = position()
            if now is not None and self._is_due(now):
                await self.store(await moment())

    def _is_due(self, now: EnginePosition) -> bool:
        """A mirror that a replay from 0 can build needs no help."""
        if not self._stored_seq and now.next_seq < self._every:
            return False
        is_old = self._clock() - self._stored_at >= self._renew_s
        return is_old or now.next_seq - self._stored_seq >= self._every

    async def store(self, moment: Moment | None) -> None:
        """Store a whole mirror, if there is one; a failure is counted."""
        if moment is None:
            return
        data = await asyncio.to_thread(encode, self._life, moment)
        try:
            await self._bus.put_object(MIRROR_BUCKET, self._name, data)
        except BusUnavailable as error:
            metrics.snapshot_failures.inc()
            log.debug("mirror not saved", extra={"error": str(error)})
            return
        metrics.saved_mirror_bytes.set(len(data))
        self._stored_seq, self._stored_at = moment.position.next_seq, self._clock()
        self._is_refused = False
