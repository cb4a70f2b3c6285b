"""`/v1/completions` and `/v1/chat/completions` of one pod."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import msgspec
from aiohttp import web

from sim.emulator.answer_json import FINGERPRINT, AnswerJson, ChatJson, CompletionJson, Json
from sim.emulator.driver import Driver
from sim.emulator.jobs import Jobs
from sim.emulator.json_body import json_response, read_json
from sim.emulator.parse import Ask, parse_chat_completion, parse_completion
from sim.emulator.pod import Pod
from sim.emulator.run import Run

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Generation:
    """The handlers; a client that goes away aborts its request."""

    pod: Pod
    driver: Driver
    jobs: Jobs
    random: Random
    """Draws request ids."""

    async def completion(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        return await self._answer(request, parse_completion, CompletionJson)

    async def chat_completion(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self._answer(request, parse_chat_completion, ChatJson)

    async def _answer(
        self,
        request: web.Request,
        parse: Callable[[bytes], Ask],
        form: type[AnswerJson],
    ) -> web.StreamResponse:
        ask = parse(await read_json(request))
        job = await self.jobs.job(ask)
        request_id = request.headers.get("x-request-id") or f"{self.random.getrandbits(64):016x}"
        run = self.driver.submit(job, self.pod.number)
        made = form(
            run,
            request_id,
            job.adapter.name if job.adapter else self.jobs.model,
            int(time.time()),
            ask.return_token_ids,
        )
        try:
            if ask.stream:
                return await self._stream(request, ask, run, made)
            await run.end()
            text = self.jobs.tokenizer.stream().feed(job.answer.tolist())
            return json_response(made.whole(text))
        finally:
            self.driver.abort(run)

    async def _stream(
        self, request: web.Request, ask: Ask, run: Run, made: AnswerJson
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type, response.charset = "text/event-stream", "utf-8"
        await response.prepare(request)
        text = self.jobs.tokenizer.stream()
        sent = 0
        pending = b"" if (opening := made.opening()) is None else _event(opening)
        while not run.finished or sent < run.generated:
            ready = await run.beyond(sent)
            ids = run.job.answer[sent:ready].tolist()
            sent = ready
            reason = run.job.finish_reason if run.finished else None
            chunk = made.chunk(text.feed(ids), ids, reason)
            if reason and not ask.include_usage:
                chunk["system_fingerprint"] = FINGERPRINT
            if ask.usage_in_every_chunk:
                chunk["usage"] = made.counts(sent)
            await response.write(pending + _event(chunk))
            pending = b""
        last = _event(made.usage_chunk()) if ask.include_usage else b""
        await response.write(last + DONE)
        await response.write_eof()
        return response


def _event(document: Json) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
