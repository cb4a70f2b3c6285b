"""The verdict as a table for people and `build/validate-sim.json` for programs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.validation.compare import Verdict
from sim.validation.records import PodSizes
from sim.validation.replay import Constants

TARGETS = {"ttft_p50": 0.15, "ttft_p90": 0.25, "e2e_p50": 0.15, "e2e_p90": 0.25}
CACHED_TOKENS_TARGET = 1.0

# Names of the constants in the order of their vector, and factors to the units in the names.
_CONSTANTS = (
    ("step, ms", 1e3),
    ("prefill, us a token", 1e6),
    ("attention, ns a pair of tokens", 1e9),
    ("decode, us a sequence", 1e6),
    ("decode, ns a context token", 1e9),
    ("request, ms", 1e3),
    ("request, us a prompt token", 1e6),
    ("output, us a token", 1e6),
)


def write(verdict: Verdict, sizes: PodSizes, path: Path) -> None:
    """Write the figures, and what they come from, as JSON."""
    figures: dict[str, Any] = {f"{name}_error": verdict.error(name) for name in TARGETS}
    figures["cached_tokens_equal_share"] = verdict.cached_tokens_equal_share
    figures["cached_tokens_repeated_share"] = verdict.cached_tokens_repeated_share
    figures["requests"] = sum(p.requests for p in verdict.passes)
    figures["pod"] = asdict(sizes)
    figures["constants"] = asdict(verdict.constants)
    figures["passes"] = [asdict(p) for p in verdict.passes]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")


def show(verdict: Verdict, console: Console) -> None:
    """Print errors, constants and what else the machine did."""
    console.print(_errors(verdict), _constants(verdict.constants))


def _errors(verdict: Verdict) -> Table:
    title = "Simulator against a real vLLM pod: measured → predicted, ms"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for number in range(1, len(verdict.passes) + 1):
        table.add_column(f"pass {number}", justify="right")
    for column in ("error", "target"):
        table.add_column(column, justify="right")
    for name, target in TARGETS.items():
        error = verdict.error(name)
        table.add_row(
            name.replace("ttft", "TTFT").replace("_", " "),
            *(
                f"{p.figures[name].measured_s * 1e3:.1f} → {p.figures[name].predicted_s * 1e3:.1f}"
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
    repeated = f"{verdict.cached_tokens_repeated_share:.1%}"
    table.add_row("cached tokens repeated by the pod", *("" for _ in verdict.passes), repeated, "")
    for name, values in (
        ("machine's slowness", [f"{p.slowness:.2f}" for p in verdict.passes]),
        ("others' share of the cores", [f"{p.machine.foreign_share:.0%}" for p in verdict.passes]),
    ):
        table.add_row(name, *values, "", "")
    return table


def _constants(constants: Constants) -> Table:
    table = Table(title="Constants of the pod", title_justify="left", show_header=False)
    for (name, factor), value in zip(_CONSTANTS, constants.vector, strict=True):
        table.add_row(name, f"{value * factor:.3g}")
    return table


def _colour(holds: bool) -> str:
    return "green" if holds else "red"
