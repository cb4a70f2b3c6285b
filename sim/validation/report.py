"""The verdict as a table for people and `build/validate-sim.json` for programs."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.validation.compare import Comparison, Verdict
from sim.validation.records import PodSizes

TARGETS = {"ttft_p50": 0.15, "ttft_p90": 0.25, "e2e_p50": 0.15, "e2e_p90": 0.25}
CACHED_TOKENS_TARGET = 1.0

# Name of a constant, the factor to its unit here, and where it is.
_CONSTANTS: tuple[tuple[str, float, Callable[[Comparison], float]], ...] = (
    ("step, ms", 1e3, lambda p: p.constants.rates.base_s),
    ("prefill, us a token", 1e6, lambda p: p.constants.rates.prefill_s_per_token),
    ("attention, ns a pair", 1e9, lambda p: p.constants.rates.attention_s_per_token_squared),
    ("decode, us a sequence", 1e6, lambda p: p.constants.rates.decode_s_per_sequence),
    ("decode, ns a context token", 1e9, lambda p: p.constants.rates.decode_s_per_context_token),
    ("request, ms", 1e3, lambda p: p.constants.request_s),
    ("request, us a prompt token", 1e6, lambda p: p.constants.request_s_per_token),
    ("output, us a token", 1e6, lambda p: p.constants.output_s),
)


def write(verdict: Verdict, sizes: PodSizes, path: Path) -> None:
    """Write the figures, and what they come from, as JSON."""
    figures: dict[str, Any] = {f"{name}_error": verdict.error(name) for name in TARGETS}
    figures["cached_tokens_equal_share"] = verdict.cached_tokens_equal_share
    figures["requests"] = sum(p.requests for p in verdict.passes)
    figures["pod"] = asdict(sizes)
    figures["passes"] = [asdict(p) for p in verdict.passes]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")


def show(verdict: Verdict, console: Console) -> None:
    """Print errors, constants and what else the machine did."""
    console.print(_errors(verdict), _constants(verdict))


def _columns(table: Table, verdict: Verdict, *last: str) -> Table:
    table.add_column("")
    for number in range(1, len(verdict.passes) + 1):
        table.add_column(f"pass {number}", justify="right")
    for name in last:
        table.add_column(name, justify="right")
    return table


def _errors(verdict: Verdict) -> Table:
    title = "Simulator against a real vLLM pod: measured > predicted, ms"
    table = _columns(Table(title=title, title_justify="left"), verdict, "error", "target")
    for name, target in TARGETS.items():
        error = verdict.error(name)
        table.add_row(
            name.replace("ttft", "TTFT").replace("_", " "),
            *(
                f"{p.figures[name].measured_s * 1e3:.1f} > {p.figures[name].predicted_s * 1e3:.1f}"
                for p in verdict.passes
            ),
            f"[{_colour(error <= target)}]{error:.1%}[/]",
            f"{target:.0%}",
        )
    share = verdict.cached_tokens_equal_share
    table.add_row(
        "cached tokens equal",
        *(f"{p.cached_tokens_equal} of {p.requests}" for p in verdict.passes),
        f"[{_colour(share >= CACHED_TOKENS_TARGET)}]{share:.1%}[/]",
        f"{CACHED_TOKENS_TARGET:.0%}",
    )
    return table


def _constants(verdict: Verdict) -> Table:
    table = _columns(Table(title="Constants", title_justify="left"), verdict, "median")
    for name, factor, read in _CONSTANTS:
        values = [read(p) * factor for p in verdict.passes]
        table.add_row(name, *(f"{value:.3g}" for value in values), f"{median(values):.3g}")
    for name, shares in (
        ("others' share of the cores", [p.machine.foreign_share for p in verdict.passes]),
        ("stolen share of the cores", [p.machine.steal_share for p in verdict.passes]),
    ):
        table.add_row(name, *(f"{share:.1%}" for share in shares), f"{median(shares):.1%}")
    return table


def _colour(holds: bool) -> str:
    return "green" if holds else "red"
