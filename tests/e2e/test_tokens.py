"""The router's token ids are the engine's."""

import json
from typing import Any

import aiohttp
import numpy as np
import pytest

from farsight.client import RouterClient
from farsight.local.fleet import Fleet
from farsight.pb.router_pb2 import Chat, RouteRequest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

TEXTS = ["hello there", "  leading spaces\nand\tlines", "ümläute, 漢字 and 🙂", "<s>not special?"]
USER: dict[str, Any] = {"role": "user", "content": "How are you?"}
PARTS = [{"type": "text", "text": "in"}, {"type": "text", "text": "parts"}]
CHATS: list[dict[str, Any]] = [
    {"messages": [USER]},
    {"messages": [{"role": "system", "content": "Be brief."}, USER]},
    {"messages": [USER, {"role": "assistant", "content": "Well."}, USER]},
    {"messages": [{"role": "user", "content": PARTS}]},
    {"messages": [USER], "add_generation_prompt": False},
    {
        "messages": [USER, {"role": "assistant", "content": "I am"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
]


async def engine_ids(fleet: Fleet, body: dict[str, Any]) -> list[int]:
    """What the first pod's /tokenize answers."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{fleet.engines[0].url}/tokenize", json={"model": "tiny", **body}) as response,
    ):
        assert response.status == 200, await response.text()
        return list((await response.json())["tokens"])


async def router_ids(fleet: Fleet, request: RouteRequest) -> list[int]:
    """What the router made of the prompt."""
    request.model = "tiny"
    request.return_token_ids = True
    addresses = [router.address for router in fleet.replicas("router")]
    async with RouterClient(addresses) as routers:
        reply = (await routers.route(request, 60)).reply
    return [int(i) for i in np.frombuffer(reply.token_ids, "<u4")]


@pytest.mark.parametrize("text", TEXTS)
async def test_completion_prompts_tokenise_alike(fleet: Fleet, text: str) -> None:
    """A text prompt gives the ids of the engine's /tokenize."""
    expected = await engine_ids(fleet, {"prompt": text})

    assert await router_ids(fleet, RouteRequest(text=text)) == expected


@pytest.mark.parametrize("body", CHATS, ids=range(len(CHATS)))
async def test_chats_tokenise_alike(fleet: Fleet, body: dict[str, Any]) -> None:
    """A chat gives the ids of the engine's /tokenize, template applied."""
    expected = await engine_ids(fleet, body)
    chat = Chat(
        messages_json=json.dumps(body["messages"]),
        no_generation_prompt=not body.get("add_generation_prompt", True),
        continue_final_message=body.get("continue_final_message", False),
    )

    assert await router_ids(fleet, RouteRequest(chat=chat)) == expected
