"""The demo's closing summary: a table for people and `build/demo.json` for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from farsight.demo.figures import PhaseFigures


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the demo measured."""

    pods: str
    """What they are: vLLM or emulated."""
    start_s: float
    round_robin: PhaseFigures
    farsight: PhaseFigures
    exact_share: float
    settled_requests: int
    probes_failed: int
    route_p50_ms: float
    route_p99_ms: float
    bundle_versions: Sequence[int]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        figures = {
            "pods": self.pods,
            "requests": self.farsight.requests + self.round_robin.requests,
            "failed_requests": self.farsight.failed + self.round_robin.failed + self.probes_failed,
            "exact_share": self.exact_share,
            "settled_requests": self.settled_requests,
            "cached_share": self.farsight.cached_share,
            "cached_share_round_robin": self.round_robin.cached_share,
            "ttft_p50_ms": self.farsight.ttft_p50_ms,
            "ttft_p90_ms": self.farsight.ttft_p90_ms,
            "ttft_p50_ms_round_robin": self.round_robin.ttft_p50_ms,
            "ttft_p90_ms_round_robin": self.round_robin.ttft_p90_ms,
            "route_p50_ms": self.route_p50_ms,
            "route_p99_ms": self.route_p99_ms,
            "bundle_versions": list(self.bundle_versions),
            "start_s": self.start_s,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Print the comparison and the single figures."""
        table = Table(title=f"The same workload on the same {self.pods} pods", title_justify="left")
        for column in ("", "round-robin", "Farsight", "ratio"):
            table.add_column(column, justify="left" if not column else "right")
        for name, text, old, new in (
            ("requests", "{:.0f}", self.round_robin.requests, self.farsight.requests),
            ("failed", "{:.0f}", self.round_robin.failed, self.farsight.failed),
            ("cached tokens", "{:.1%}", self.round_robin.cached_share, self.farsight.cached_share),
            ("TTFT p50, ms", "{:.0f}", self.round_robin.ttft_p50_ms, self.farsight.ttft_p50_ms),
            ("TTFT p90, ms", "{:.0f}", self.round_robin.ttft_p90_ms, self.farsight.ttft_p90_ms),
        ):
            ratio = f"{new / old:.2f}x" if old and name not in ("requests", "failed") else ""
            table.add_row(name, text.format(old), text.format(new), ratio)
        console.print(table)
        versions = " -> ".join(map(str, self.bundle_versions)) or "none"
        console.print(
            f"cached tokens predicted exactly: {self.exact_share:.1%} "
            f"of {self.settled_requests} settled requests\n"
            f"Route call, 2,000-token prompt: p50 {self.route_p50_ms:.1f} ms, "
            f"p99 {self.route_p99_ms:.1f} ms\n"
            f"latency model versions: {versions} (0 is the analytic model)\n"
            f"started in {self.start_s:.0f} s"
        )
