"""The figures that are asked for: their names, what they must reach, and how they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.index.results import Figures


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `target` and measured values are in the unit of the figure's name.

    `scale` and `unit` are for showing. `beside` names the figures in the columns for peers.
    """

    title: str
    name: str
    target: float
    at_least: bool
    scale: float
    unit: str
    beside: Mapping[str, str]

    def shown(self, value: float | None) -> str:
        """A value with its unit; a dash when it was not measured."""
        return "-" if value is None else f"{value / self.scale:,.4g} {self.unit}"

    def wanted(self) -> str:
        """What it must reach."""
        return f"{'>=' if self.at_least else '<='} {self.shown(self.target)}"

    def verdict(self, figures: Figures) -> str:
        """`yes` or `MISSED`; empty when it was not measured."""
        value = figures.get(self.name)
        if value is None:
            return ""
        reached = value >= self.target if self.at_least else value <= self.target
        return "yes" if reached else "MISSED"


def _peers(name: str) -> dict[str, str]:
    return {"Dynamo": f"dynamo_{name}", "dict": f"dict_{name}"}


def _echo(name: str) -> dict[str, str]:
    return {"echo": name}


ROWS = (
    *(
        Row(title, name, target, at_least, scale, unit, _peers(name))
        for title, name, target, at_least, scale, unit in (
            ("table ingest, 64-key deltas", "ingest_blocks_per_s", 8e6, True, 1e6, "M/s"),
            ("memory of a block", "bytes_per_block", 30, False, 1, "B"),
            ("match, 450 blocks, 64 endpoints, p50", "match450_p50_us", 15, False, 1, "us"),
            ("the same, p99", "match450_p99_us", 60, False, 1, "us"),
        )
    ),
    Row(
        "match, 8,192 blocks, 1,000 endpoints, p50", "match8192_1000_p50_ms", 3, False, 1, "ms", {}
    ),
    Row("NATS to table", "nats_ingest_blocks_per_s", 2e6, True, 1e6, "M/s", {}),
    Row("sidecar, ZMQ to delta", "sidecar_blocks_per_s", 3e5, True, 1e3, "k/s", {}),
    Row(
        "sidecar, added at 2,000 blocks/s, p99",
        *("sidecar_added_p99_ms", 5, False, 1, "ms"),
        _echo("sidecar_echo_p99_ms"),
    ),
    Row(
        "Match RPC, p50 at 1 in flight, over echo",
        *("match_rpc_p50_over_echo", 1.5, False, 1, "x"),
        {},
    ),
    Row(
        "Match RPC, rate at 16 in flight, over echo",
        *("match_rpc16_rate_over_echo", 0.7, True, 1, "x"),
        {},
    ),
    Row("restart to EXACT, 10 M blocks", "recovery_10m_s", 5, False, 1, "s", {}),
    Row("clear of an endpoint, 5 M blocks", "clear_ms", 20, False, 1, "ms", {}),
)
