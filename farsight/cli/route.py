"""`farsight route`: one decision, explained."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from farsight.cli import route_tables
from farsight.cli.options import DEFAULT_ETCD, AsJson, EtcdAddress
from farsight.cli.output import console, write_json
from farsight.cli.records import connected, list_services
from farsight.cli.route_explanation import Explanation, explain
from farsight.cli.route_prompt import set_prompt
from farsight.client import RouterClient
from farsight.errors import NoEndpoint
from farsight.pb.router_pb2 import Finished, ReportEvent, RouteRequest

ROUTE_LIMIT_S = 6.0  # the first text of a model waits for its tokenizer
UINT32_MAX = 2**32 - 1

Prompt = Annotated[str | None, typer.Option("--text", help="The prompt as text.")]
Tokens = Annotated[
    str | None, typer.Option("--tokens", metavar="1,2,3", help="The prompt as token ids.")
]
ChatFile = Annotated[
    Path | None,
    typer.Option(
        "--chat-file",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The prompt as a chat: a JSON file with an OpenAI `messages` array or request body.",
    ),
]
SloMs = Annotated[
    float | None, typer.Option(metavar="MS", help="Target in milliseconds, > 0; default: none.")
]


def route(
    model: Annotated[str, typer.Option("--model", help="Served model or LoRA adapter.")],
    text: Prompt = None,
    tokens: Tokens = None,
    chat_file: ChatFile = None,
    slo_ttft_ms: SloMs = None,
    slo_tpot_ms: SloMs = None,
    max_output_tokens: Annotated[
        int, typer.Option(min=0, max=UINT32_MAX, help="Longest output, tokens; 0: unknown.")
    ] = 0,
    profile: Annotated[str, typer.Option(help="Scheduling profile; default: the live one.")] = "",
    salt: Annotated[str, typer.Option(help="cache_salt that the engine would be sent.")] = "",
    etcd: EtcdAddress = DEFAULT_ETCD,
    as_json: AsJson = False,
) -> None:
    """Ask a router for one decision and show what it saw in every endpoint.

    Takes exactly one of --text, --tokens and --chat-file. Nothing is sent to an engine; the load
    that the decision reserves is released at once.

    Exit code: 0; 1 when no router or no endpoint can serve, 2 when the request is refused.
    """
    request = RouteRequest(
        model=model,
        slo_ttft_ms=slo_ttft_ms,
        slo_tpot_ms=slo_tpot_ms,
        max_output_tokens=max_output_tokens,
        profile=profile,
        cache_salt=salt,
        explain=True,
    )
    set_prompt(request, text, tokens, chat_file)
    decision = asyncio.run(_decide(etcd, request))
    if as_json:
        write_json(decision)
    else:
        console().print(route_tables.render(decision))


async def _decide(address: str, request: RouteRequest) -> Explanation:
    """One decision whose reservation is released.

    :raises FarsightError: etcd is away, no router answers, or the request is refused.
    """
    async with connected(address) as etcd:
        listing = await list_services(etcd, "router")
    if not listing.records:
        raise NoEndpoint("no router is registered")
    async with RouterClient([record.address for record in listing.records]) as routers:
        decision = await routers.route(request, ROUTE_LIMIT_S)
        reply = decision.reply
        routers.report(
            decision,
            ReportEvent(
                decision_id=reply.decision_id,
                endpoint_id=reply.endpoint.endpoint_id,
                finished=Finished(status=Finished.STATUS_CANCELLED),
            ),
        )
    return explain(reply, decision.router)
