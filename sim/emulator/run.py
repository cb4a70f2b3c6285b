"""One request inside an engine, and its progress for the response that waits for it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from farsight.keys import Keys, Tokens

FinishReason = Literal["length", "stop"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter; `number` counts from 1."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is given: the tokens of prompt and answer, and the keys of their blocks."""

    prompt: Tokens
    answer: Tokens
    finish_reason: FinishReason
    keys: Keys
    adapter: Adapter | None = None
    cache_salt: str = ""


class Run:
    """A job on its way through an engine; changed by the driver alone."""

    def __init__(self, job: Job, pod: int, arrived_s: float) -> None:
        self.job = job
        self.pod = pod
        self.tokens = np.concatenate((job.prompt, job.answer))
        self.arrived_s = arrived_s
        self.last_token_s = arrived_s
        self.slot: int | None = None
        """Where the engine has it; None before and after."""
        self.generated = 0
        self.cached_tokens = 0
        self.ttft_s = 0.0
        """Of the wall clock."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def finished(self) -> bool:
        """The whole answer is there."""
        return self.generated == self.job.answer.size

    def tell(self, generated: int) -> None:
        """So many tokens of the answer are there."""
        self.generated = generated
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def beyond(self, count: int) -> int:
        """How many tokens of the answer are there, once they are more than `count`."""
        while self.generated <= count:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.generated

    async def end(self) -> None:
        """Return when the whole answer is there."""
        await self.beyond(self.job.answer.size - 1)

    def block_tokens(self, first: int, count: int, block_tokens: int) -> list[int]:
        """Tokens of some blocks."""
        ids: list[int] = self.tokens[first * block_tokens : (first + count) * block_tokens].tolist()
        return ids

    def extra_keys(self, first: int, count: int) -> list[list[Any] | None]:
        """What vLLM hashes beside the tokens of some blocks: the adapter, and the salt at first."""
        names = [self.job.adapter.name] if self.job.adapter else []
        extra: list[list[Any] | None] = [list(names) or None for _ in range(count)]
        if self.job.cache_salt and first == 0:
            extra[0] = [*names, self.job.cache_salt]
        return extra
