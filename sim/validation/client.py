"""Sends token ids to the pod and notes when each token of the answer comes."""

import dataclasses
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from farsight.errors import FarsightError
from sim.validation.records import Observation

_TIMEOUT_S = 120.0
_DATA, _END = b"data: ", b"[DONE]"


class RequestFailed(FarsightError):
    """The pod refused a request, or its answer broke off."""

    reason = "request-failed"


class _Choice(msgspec.Struct):
    token_ids: list[int] = []


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class PodClient:
    """An async context manager; requests go to the completion endpoint of one pod."""

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model
        self._http: aiohttp.ClientSession | None = None
        self._decoder = msgspec.json.Decoder(_Chunk)

    async def __aenter__(self) -> "PodClient":
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_TIMEOUT_S),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def send(self, label: str, prompt: Sequence[int], output_tokens: int) -> Observation:
        """One request with exactly so many output tokens, streamed.

        :raises RequestFailed: it was not answered in full.
        """
        assert self._http is not None, "inside `async with`"
        prompt = list(prompt)
        body = msgspec.json.encode(
            {
                "model": self._model,
                "prompt": prompt,
                "max_tokens": output_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
                "return_token_ids": True,
            }
        )
        observation = Observation(label, time.perf_counter(), prompt, [], [], 0)
        try:
            cached_tokens = await self._stream(body, observation)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise RequestFailed(f"{label}: {error!r}") from error
        if len(observation.output) != output_tokens:
            raise RequestFailed(f"{label}: {len(observation.output)} tokens, not {output_tokens}")
        return dataclasses.replace(observation, cached_tokens=cached_tokens)

    async def _stream(self, body: bytes, observation: Observation) -> int:
        """Collect the tokens; returns the cached tokens."""
        assert self._http is not None
        headers = {"content-type": "application/json"}
        cached_tokens = 0
        async with self._http.post(
            f"{self._url}/v1/completions", data=body, headers=headers
        ) as response:
            if response.status != 200:
                raise RequestFailed(f"{response.status} {await response.text()}")
            async for line in response.content:
                if not line.startswith(_DATA) or line.startswith(_END, len(_DATA)):
                    continue
                now_s = time.perf_counter()
                chunk = self._decoder.decode(line[len(_DATA) :])
                for choice in chunk.choices:
                    observation.output.extend(choice.token_ids)
                    observation.token_s.extend([now_s] * len(choice.token_ids))
                if chunk.usage and chunk.usage.prompt_tokens_details:
                    cached_tokens = chunk.usage.prompt_tokens_details.cached_tokens or 0
        return cached_tokens

    async def forget(self) -> None:
        """Empty the pod's prefix cache; no request may be running.

        :raises RequestFailed: the pod refuses.
        """
        assert self._http is not None, "inside `async with`"
        async with self._http.post(f"{self._url}/reset_prefix_cache") as response:
            if response.status != 200:
                raise RequestFailed(f"{response.status} {await response.text()}")
