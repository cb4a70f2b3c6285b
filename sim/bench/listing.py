"""What `farsight bench --list` shows."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from farsight.cli.tables import fitted, new_table
from sim.bench.matrix import DEFAULT_POLICIES
from sim.policy import load_policy, policy_names
from sim.workload import Workload, load_workload, workload_names

_KNOBS = {"rate_per_s": "/s", "concurrency": " users"}


def listing() -> Iterator[RenderableType]:
    """All workloads, then all policies."""
    yield from (_workloads(), Text(), _policies())


def _workloads() -> RenderableType:
    table = new_table(("workload", "what it is", "pods", "hardware", "ladder"), ("pods",))
    for workload in map(load_workload, workload_names()):
        fleet = workload.fleet
        table.add_row(
            *(workload.name, workload.description, str(fleet.pods), fleet.hardware),
            _ladder(workload),
        )
    return fitted(table)


def _ladder(workload: Workload) -> str:
    steps = " ".join(f"{load:g}" for load in workload.ladder)
    return f"{steps}{_KNOBS[workload.ladder_knob]}"


def _policies() -> RenderableType:
    table = new_table(("policy", "default", "what it is"), states=("policy", "default"))
    for policy in map(load_policy, policy_names()):
        is_default = "yes" if policy.name in DEFAULT_POLICIES else ""
        table.add_row(policy.name, is_default, policy.description)
    return fitted(table)
