"""The live table of `farsight top` and of the demo: `fetch` a `TopState`, `render` it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farsight.cli import words
from farsight.cli.enums import known_age_ms
from farsight.cli.tables import fitted, new_table
from farsight.cli.top_state import EndpointRow, TopState, fetch

__all__ = ["TopState", "fetch", "render"]


def render(state: TopState) -> RenderableType:
    """The header, the table, and what is away."""
    return Group(_header(state), Text(), fitted(_table(state.endpoints)), *_notes(state))


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
    figures = (
        *("\nrequests", "in\nflight", "cached tok.\npredicted", "\nactual"),
        *("TTFT ms\npred.", " \nactual"),
    )
    headers = ("endpoint", *figures, "index", "load\nage")
    table = new_table(headers, (*figures, "load\nage"), ("index",))
    for endpoint in endpoints:
        table.add_row(*_cells(endpoint))
    if len(endpoints) > 1:
        table.add_section()
        table.add_row(*_sums(endpoints), style="bold")
    return table


def _sums(endpoints: Sequence[EndpointRow]) -> tuple[str, ...]:
    prompt_tokens = sum(e.prompt_tokens for e in endpoints)
    return (
        "all",
        words.count(sum(e.requests for e in endpoints)),
        words.count(sum(e.in_flight_requests for e in endpoints)),
        _cached(sum(e.cached_tokens_predicted for e in endpoints), prompt_tokens),
        _cached(sum(e.cached_tokens_actual for e in endpoints), prompt_tokens),
    )


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
        words.confidence(endpoint.confidence),
        words.age(known_age_ms(endpoint.load_age_ms)),
    )


def _cached(tokens: int, prompt_tokens: int) -> str:
    if not prompt_tokens:
        return words.NOTHING
    return f"{words.tokens(tokens)} {tokens / prompt_tokens:>4.0%}"


def _notes(state: TopState) -> list[Text]:
    notes = [Text(note, "bold red") for note in state.away]
    if not state.routers:
        notes.append(Text("no router is registered", "bold red"))
    elif state.decisions and not state.endpoints:
        notes.append(Text("no endpoint is registered", "bold red"))
    return notes
