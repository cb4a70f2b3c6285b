"""The live table of `farsight top` and of the demo: `fetch` a `TopState`, `render` it."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farsight.cli import words
from farsight.cli.enums import known_age_ms
from farsight.cli.top_state import EndpointRow, TopState, fetch

__all__ = ["TopState", "fetch", "render"]


def render(state: TopState) -> RenderableType:
    """The header, the table, and what is away."""
    return Group(_header(state), _table(state.endpoints), *_notes(state))


def _header(state: TopState) -> Text:
    made = words.count(sum(state.decisions.values()))
    rate = "" if state.decisions_per_s is None else f", {state.decisions_per_s:.1f}/s"
    parts = [
        f"{len(state.decisions)} of {len(state.routers)} routers",
        f"decisions {made}{rate}",
        f"profile {' / '.join(state.profiles) or words.NOTHING}",
        *(f"model {m}: {_bundle(v)}" for m, v in sorted(state.bundle_versions.items())),
    ]
    fallbacks = ", ".join(f"{reason} {n:,}" for reason, n in state.fallbacks.items()) or "none"
    return Text("  |  ".join(parts), "bold").append(f"\nfallbacks: {fallbacks}", "not bold")


def _bundle(version: int) -> str:
    return f"bundle {version}" if version else "analytic latency model"


def _table(endpoints: Sequence[EndpointRow]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=len(endpoints) > 1)
    cached_share = _share(
        sum(e.cached_tokens_actual for e in endpoints), sum(e.prompt_tokens for e in endpoints)
    )
    predicted_share = _share(
        sum(e.cached_tokens_predicted for e in endpoints), sum(e.prompt_tokens for e in endpoints)
    )
    table.add_column("endpoint", footer="all", overflow="fold")
    for header, footer in (
        ("\nrequests", words.count(sum(e.requests for e in endpoints))),
        ("in\nflight", words.count(sum(e.in_flight_requests for e in endpoints))),
        ("cached tokens\npredicted", predicted_share),
        ("\nactual", cached_share),
        ("TTFT ms\npredicted", ""),
        ("\nactual", ""),
    ):
        table.add_column(header, footer=footer, justify="right", overflow="fold")
    table.add_column("index")
    table.add_column("load\nage", justify="right")
    for endpoint in endpoints:
        table.add_row(*_cells(endpoint))
    return table


def _cells(endpoint: EndpointRow) -> tuple[RenderableType, ...]:
    name = Text(endpoint.endpoint_id)
    if endpoint.is_inhibited:
        name.append(" (left out: failed)", "bold red")
    return (
        name,
        words.count(endpoint.requests),
        words.count(endpoint.in_flight_requests),
        _cached(endpoint.cached_tokens_predicted, endpoint.prompt_tokens),
        _cached(endpoint.cached_tokens_actual, endpoint.prompt_tokens),
        words.latency(endpoint.ttft_predicted_ms),
        words.latency(endpoint.ttft_actual_ms),
        words.confidence(endpoint.confidence or words.NOTHING),
        words.age(known_age_ms(endpoint.load_age_ms)),
    )


def _cached(tokens: int, prompt_tokens: int) -> str:
    return f"{words.count(tokens)} {_share(tokens, prompt_tokens):>4}" if prompt_tokens else "-"


def _share(tokens: int, prompt_tokens: int) -> str:
    return f"{tokens / prompt_tokens:.0%}" if prompt_tokens else words.NOTHING


def _notes(state: TopState) -> list[Text]:
    notes = [Text(note, "bold red") for note in state.away]
    if not state.routers:
        notes.append(Text("no router is registered", "bold red"))
    elif state.decisions and not state.endpoints:
        notes.append(Text("no endpoint is registered", "bold red"))
    return notes
