"""What a pod serves beside answers: who it is, how it is, its tokenizer and its cache."""

from dataclasses import dataclass

from aiohttp import web

from sim.emulator import stats
from sim.emulator.driver import Driver
from sim.emulator.jobs import Jobs
from sim.emulator.json_body import json_response, read_json
from sim.emulator.parse import Detokenize, decode, parse_tokenize
from sim.emulator.pod import Pod
from sim.emulator.publisher import HIGH_WATER_MARK, RING_BATCHES

VERSION = "0.32.0"
"""Of the vLLM whose behaviour is modelled."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The handlers of one pod."""

    pod: Pod
    driver: Driver
    jobs: Jobs
    process_start_unix_s: float

    async def health(self, _: web.Request) -> web.Response:
        """GET /health, GET and POST /ping: always well."""
        return web.Response()

    async def version(self, _: web.Request) -> web.Response:
        """GET /version."""
        return json_response({"version": VERSION})

    async def load(self, _: web.Request) -> web.Response:
        """GET /load: requests in flight."""
        here = sum(run.pod == self.pod.number for run in self.driver.runs)
        return json_response({"server_load": here})

    async def models(self, _: web.Request) -> web.Response:
        """GET /v1/models: the model, whose root is its tokenizer's path, and the adapters."""
        jobs = self.jobs
        base = self._card(jobs.model, jobs.tokenizer.source, None, jobs.limit_tokens)
        adapters = [self._card(name, name, jobs.model, None) for name in jobs.adapters]
        return json_response({"object": "list", "data": [base, *adapters]})

    def _card(
        self, name: str, root: str, parent: str | None, max_model_len: int | None
    ) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": int(self.process_start_unix_s),
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": max_model_len,
            "permission": [],
        }

    async def kv_event_sources(self, _: web.Request) -> web.Response:
        """GET /kv_event_sources: ports that the sidecar reaches at the pod's host."""
        publisher = self.pod.publisher
        rank = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": f"tcp://*:{publisher.events_port}",
            "replay_endpoint": f"tcp://*:{publisher.replay_port}",
            "buffer_steps": RING_BATCHES,
            "hwm": HIGH_WATER_MARK,
            "max_queue_size": HIGH_WATER_MARK,
            "topic": publisher.topic,
        }
        return json_response({"0": rank})

    async def metrics(self, _: web.Request) -> web.Response:
        """GET /metrics."""
        number = self.pod.number
        gauges, spec = self.driver.gauges(number), self.driver.spec
        now = stats.Now(
            running=gauges.running,
            waiting=gauges.waiting,
            kv_usage_ratio=gauges.kv_usage_ratio,
            preemptions=self.driver.preemptions(number),
            process_start_unix_s=self.process_start_unix_s,
            block_tokens=spec.block_tokens,
            kv_blocks=spec.blocks + 1,
        )
        page = stats.page(self.pod.stats, now, self.jobs.model)
        return web.Response(body=page, content_type="text/plain", charset="utf-8")

    async def tokenize(self, request: web.Request) -> web.Response:
        """POST /tokenize."""
        asked = parse_tokenize(await read_json(request))
        self.jobs.adapter(asked.model)
        ids = (await self.jobs.tokenizer.ids(asked.prompt, asked.add_special_tokens)).tolist()
        strings = self.jobs.tokenizer.strings(ids) if asked.with_strings else None
        return json_response(
            {
                "count": len(ids),
                "max_model_len": self.jobs.limit_tokens,
                "tokens": ids,
                "token_strs": strings,
            }
        )

    async def detokenize(self, request: web.Request) -> web.Response:
        """POST /detokenize."""
        asked = decode(await read_json(request), Detokenize)
        self.jobs.adapter(asked.model)
        return json_response({"prompt": self.jobs.tokenizer.text(asked.tokens)})

    async def reset_prefix_cache(self, _: web.Request) -> web.Response:
        """POST /reset_prefix_cache: fails while requests hold blocks."""
        return json_response({"success": self.driver.clear_cache(self.pod.number)})
