"""A whole sidecar inside a test's event loop."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from farsight.discovery import decode_endpoint, endpoint_key
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import EndpointRecord
from farsight.runtime import Runtime
from services.sidecar.service import build
from services.sidecar.settings import SidecarSettings
from tests.services.running import running

ENDPOINT = "pod-1"


def sidecar(settings: SidecarSettings) -> AbstractAsyncContextManager[Runtime]:
    """The service from start to a graceful stop."""
    return running("sidecar", settings, build)


@dataclass(frozen=True)
class Servers:
    """Addresses of the real servers, as settings."""

    etcd: str
    nats: str

    def settings(self, engine_url: str, **fields: Any) -> SidecarSettings:
        """Settings with short intervals."""
        fast = {
            "load_interval_s": 0.05,
            "probe_interval_s": 0.1,
            "models_interval_s": 0.1,
            "tail_check_s": 0.2,
            "http_timeout_s": 1,
            "replay_timeout_s": 1,
            "load_timeout_s": 1,
            "snapshot_min_interval_s": 0,
            "drain_s": 0,
        }
        return SidecarSettings.model_validate(
            {
                "etcd": self.etcd,
                "nats": self.nats,
                "engine_url": engine_url,
                "endpoint_id": ENDPOINT,
                **fast,
                **fields,
            }
        )


async def record(etcd: Etcd) -> EndpointRecord | None:
    """The endpoint's record as others see it."""
    value = await etcd.get(endpoint_key(ENDPOINT))
    return None if value is None else decode_endpoint(value)


async def settled(etcd: Etcd, wanted: Callable[[EndpointRecord | None], bool]) -> None:
    """Return when the record is as wanted."""
    async with asyncio.timeout(10):
        while not wanted(await record(etcd)):  # noqa: ASYNC110 # etcd is another process
            await asyncio.sleep(0.02)


async def registered(etcd: Etcd, *, after_epoch: int = 0) -> EndpointRecord:
    """The record once it is there, of an epoch later than the given one."""
    await settled(etcd, lambda found: found is not None and found.epoch > after_epoch)
    found = await record(etcd)
    assert found is not None
    return found


async def withdrawn(etcd: Etcd) -> None:
    """Return when the record is gone."""
    await settled(etcd, lambda found: found is None)
