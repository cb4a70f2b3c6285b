"""A decision as tables: what was known of each candidate, and what that was worth."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farsight.cli import words
from farsight.cli.route_explanation import Candidate, Explanation
from farsight.cli.tables import fitted, new_table

CHOSEN = "→"
# Of the cached tokens: those of prompts that were routed there moments ago.
ON_ITS_WAY = "on its\nway"


def render(decision: Explanation) -> RenderableType:
    """The decision, its reasons, and both tables."""
    return Group(
        *_summary(decision),
        Text(),
        Text("What is known", "bold"),
        fitted(_known(decision.candidates)),
        Text(),
        Text("What it is worth", "bold"),
        fitted(_worth(decision.candidates)),
    )


def _summary(decision: Explanation) -> Iterator[Text]:
    model = f"bundle {decision.bundle_version}" if decision.bundle_version else "analytic model"
    lines = (
        ("endpoint", f"{decision.endpoint_id}  {decision.url}"),
        ("because", decision.picker_reason or "no reason given"),
        ("then", ", ".join(decision.alternatives) or "no alternative"),
        (
            "prompt",
            f"{words.count(decision.prompt_tokens)} tokens, "
            f"{words.count(decision.cached_tokens)} of them cached "
            f"({decision.confidence or 'confidence unknown'})",
        ),
        ("profile", f"{decision.profile}, latency from the {model}"),
        ("fallbacks", ", ".join(decision.fallbacks) or "none"),
        ("decided", f"in {decision.decision_ms:.2f} ms by router {decision.router}"),
        ("decision", f"{decision.decision_id} (its reservation is released)"),
    )
    for name, value in lines:
        yield Text(f"{name:<10}", "bold").append(value, "not bold")


def _name(candidate: Candidate) -> tuple[str, Text]:
    mark = CHOSEN if candidate.is_chosen else ""
    return mark, Text(candidate.endpoint_id, "bold" if candidate.is_chosen else "")


def _known(candidates: Sequence[Candidate]) -> Table:
    has_speculation = any(candidate.speculative_tokens for candidate in candidates)
    figures = (
        *("index\nage", "load\nage", "prefix\ndevice", "tokens\nhost", "\nstorage"),
        *("cached\ntokens", *[ON_ITS_WAY] * has_speculation, "in\nflight", "prefill\ntokens"),
    )
    table = new_table(("", "endpoint", "index", *figures), figures, ("index",))
    for candidate in candidates:
        table.add_row(
            *_name(candidate),
            words.confidence(candidate.confidence),
            words.age(candidate.index_age_ms),
            words.age(candidate.load_age_ms),
            words.count(candidate.device_tokens),
            words.count(candidate.host_tokens),
            words.count(candidate.storage_tokens),
            words.count(candidate.cached_tokens),
            *[words.count(candidate.speculative_tokens)] * has_speculation,
            words.count(candidate.in_flight_requests),
            words.count(candidate.in_flight_prefill_tokens),
        )
    return table


def _worth(candidates: Sequence[Candidate]) -> Table:
    scorers = sorted({name for candidate in candidates for name in candidate.scores})
    latencies = ("TTFT ms\nq50", "\nq90", "TPOT ms\nq50", " \nq90")
    figures = (*latencies, *(name.replace("-", "-\n", 1) for name in scorers), "total")
    table = new_table(("", "endpoint", *figures, "filtered by"), figures)
    for candidate in candidates:
        scored = not candidate.filtered_by
        table.add_row(
            *_name(candidate),
            words.latency(candidate.ttft_q50_ms),
            words.latency(candidate.ttft_q90_ms),
            words.latency(candidate.tpot_q50_ms),
            words.latency(candidate.tpot_q90_ms),
            *(_score(candidate.scores.get(name)) for name in scorers),
            _score(candidate.total_score if scored else None),
            Text(candidate.filtered_by, "red"),
        )
    return table


def _score(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.3f}"
