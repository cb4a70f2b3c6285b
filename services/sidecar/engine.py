"""HTTP client of one vLLM engine: the few pages that the sidecar reads."""

from typing import Annotated

import aiohttp
import msgspec
from msgspec import Meta, Struct

from farsight.errors import BadRecord, FarsightError

MAX_PAGE_BYTES = 8 * 1024 * 1024
Name = Annotated[str, Meta(max_length=1024)]


class EngineUnavailable(FarsightError):
    """The engine did not answer, or answered with an error."""

    reason = "engine-unavailable"

    def __init__(self, path: str, detail: str, status: int = 0) -> None:
        super().__init__(f"{path}: {detail}")
        self.status = status


class ServedModel(Struct, frozen=True):
    """One entry of `/v1/models`; `parent` is set on LoRA adapters, `root` is the model's path."""

    id: Name
    root: Name | None = None
    parent: Name | None = None
    max_model_len: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None = None


class _Models(Struct, frozen=True):
    data: list[ServedModel]


class _Version(Struct, frozen=True):
    version: Name


class Engine:
    """The engine at `url`, without a trailing slash."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout_s: float) -> None:
        self._session = session
        self.url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def _get(self, path: str) -> bytes:
        """Body of a page.

        :raises EngineUnavailable: no answer in time, no status 200, or a page that is too large.
        """
        try:
            async with self._session.get(self.url + path, timeout=self._timeout) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_PAGE_BYTES:
                        raise EngineUnavailable(path, f"more than {MAX_PAGE_BYTES} bytes")
                if response.status != 200:
                    raise EngineUnavailable(path, f"status {response.status}", response.status)
                return bytes(body)
        except TimeoutError as error:
            raise EngineUnavailable(path, "no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailable(path, repr(error)) from error

    async def check_health(self) -> None:
        """Return when `/health` says 200.

        :raises EngineUnavailable: it does not.
        """
        await self._get("/health")

    async def metrics_page(self) -> bytes:
        """The `/metrics` page.

        :raises EngineUnavailable: it cannot be read.
        """
        return await self._get("/metrics")

    async def models(self) -> tuple[ServedModel, ...]:
        """What `/v1/models` lists.

        :raises EngineUnavailable: it cannot be read.
        :raises BadRecord: it has another shape.
        """
        try:
            return tuple(msgspec.json.decode(await self._get("/v1/models"), type=_Models).data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRecord(f"/v1/models: {error}") from error

    async def version(self) -> str:
        """The engine's version.

        :raises EngineUnavailable: it cannot be read.
        :raises BadRecord: it has another shape.
        """
        try:
            return msgspec.json.decode(await self._get("/version"), type=_Version).version
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRecord(f"/version: {error}") from error

    async def kv_event_sources(self) -> bytes | None:
        """The `/kv_event_sources` answer; None when the engine is too old to have the page.

        :raises EngineUnavailable: it cannot be read.
        """
        try:
            return await self._get("/kv_event_sources")
        except EngineUnavailable as error:
            if error.status == 404:
                return None
            raise
