"""The HTTP application of one pod."""

from random import Random

from aiohttp import web

from sim.emulator.driver import Driver
from sim.emulator.generation import Generation
from sim.emulator.jobs import Jobs
from sim.emulator.json_body import MAX_BODY_BYTES, refusals
from sim.emulator.pages import Pages
from sim.emulator.pod import Pod


def application(
    pod: Pod, driver: Driver, jobs: Jobs, random: Random, process_start_unix_s: float
) -> web.Application:
    """Everything that the pod serves."""
    pages = Pages(pod, driver, jobs, process_start_unix_s)
    generation = Generation(pod, driver, jobs, random)
    app = web.Application(middlewares=[refusals], client_max_size=MAX_BODY_BYTES)
    app.add_routes(
        [
            web.post("/v1/completions", generation.completion),
            web.post("/v1/chat/completions", generation.chat_completion),
            web.get("/v1/models", pages.models),
            web.get("/health", pages.health),
            web.get("/ping", pages.health),
            web.post("/ping", pages.health),
            web.get("/version", pages.version),
            web.get("/load", pages.load),
            web.get("/metrics", pages.metrics),
            web.get("/kv_event_sources", pages.kv_event_sources),
            web.post("/tokenize", pages.tokenize),
            web.post("/detokenize", pages.detokenize),
            web.post("/reset_prefix_cache", pages.reset_prefix_cache),
        ]
    )
    return app
