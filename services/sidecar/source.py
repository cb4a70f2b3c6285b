"""Where an engine rank publishes its KV events, from its `/kv_event_sources` or from settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from farsight.errors import BadRecord
from farsight.log import get_logger
from services.sidecar.engine import Engine
from services.sidecar.settings import SidecarSettings

log = get_logger(__name__)

Address = Annotated[str, Meta(max_length=1024)]
_WILDCARD = re.compile(r"^tcp://(\*|0\.0\.0\.0|\[::\]|::)(?=:\d+$)")


DEFAULT_RING_BATCHES = 10_000


class _Published(Struct, frozen=True):
    """The publisher configuration of one rank as the engine tells it."""

    enable_kv_cache_events: bool = False
    publisher: str | None = None
    endpoint: Address | None = None
    replay_endpoint: Address | None = None
    buffer_steps: int | None = None


@dataclass(frozen=True, slots=True)
class EventSource:
    """ZMQ addresses to connect to; `replay` is None when the engine offers no replay.

    `ring_batches` is how many batches a replay reaches back.
    """

    events: str
    replay: str | None
    ring_batches: int = DEFAULT_RING_BATCHES


def reachable(address: str, host: str) -> str:
    """The address that an engine binds, with a wildcard replaced by the engine's host."""
    bracketed = f"[{host}]" if ":" in host else host
    return _WILDCARD.sub(f"tcp://{bracketed}", address)


async def discover(engine: Engine, settings: SidecarSettings) -> EventSource | None:
    """The source of the settings' rank; None, said loudly, when there are no events.

    :raises EngineUnavailable: the engine does not answer.
    :raises BadRecord: its answer has another shape.
    """
    if settings.kv_events:
        return EventSource(settings.kv_events, settings.kv_replay or None)
    answer = await engine.kv_event_sources()
    if answer is None:
        log.error("the engine does not tell where its KV events are: set --kv-events")
        return None
    source = find(answer, settings.data_parallel_rank, engine.url)
    if source is None:
        log.error("the engine publishes no KV events: start it with --kv-events-config")
    elif source.replay is None:
        log.error("the engine offers no replay: set replay_endpoint in its --kv-events-config")
    return source


def find(answer: bytes, rank: int, engine_url: str) -> EventSource | None:
    """The source of one data-parallel rank; None when the engine publishes no events for it.

    :raises BadRecord: the answer has another shape.
    """
    try:
        ranks: Mapping[str, _Published] = msgspec.json.decode(answer, type=dict[str, _Published])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"/kv_event_sources: {error}") from error
    found = ranks.get(str(rank))
    if found is None or not found.enable_kv_cache_events or not found.endpoint:
        return None
    host = urlsplit(engine_url).hostname or "127.0.0.1"
    replay = reachable(found.replay_endpoint, host) if found.replay_endpoint else None
    ring_batches = max(found.buffer_steps or DEFAULT_RING_BATCHES, 1)
    return EventSource(reachable(found.endpoint, host), replay, ring_batches)
