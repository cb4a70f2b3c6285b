"""How stale and how partial the routers' view is, and what happens to the pods."""

from dataclasses import dataclass, fields
from math import inf
from typing import Literal, get_args

from farsight.errors import InvalidField

FaultKind = Literal["slow", "hang", "die"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to one pod and passes.

    `slow` multiplies step times by `factor`; `hang` stops all steps; `die` loses the cache and all
    requests, and a new process comes after `duration_s`.

    :raises InvalidField: a value is out of range.
    """

    kind: FaultKind
    pod: int
    at_s: float
    duration_s: float
    factor: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise InvalidField("faults", f"one of {get_args(FaultKind)}, not {self.kind!r}")
        if self.pod < 0:
            raise InvalidField("faults", "the number of a pod")
        if not (0 <= self.at_s < inf and 0 <= self.duration_s < inf and 0 < self.factor < inf):
            raise InvalidField("faults", "finite times from 0 and a factor above 0")


@dataclass(frozen=True, slots=True)
class Environment:
    """Delays in seconds, shares from 0 to 1.

    :raises InvalidField: a value is out of range.
    """

    routers: int = 1
    """Replicas; clients take turns."""
    load_interval_s: float = 0.25
    """Between two reads of an engine's gauges by its sidecar."""
    delta_delay_s: float = 0.002
    """Engine to index."""
    delta_loss: float = 0.0
    delta_reorder: float = 0.0
    """Deltas that the one behind them overtakes."""
    snapshot_delay_s: float = 0.05
    """Asking for a snapshot to having it."""
    announce_interval_s: float = 0.02
    """In-flight totals of a router to the others."""
    dispatch_s: float = 0.002
    """Client to router, decision, and client to engine."""
    prompt_overhead_s_per_token: float = 0.0
    """HTTP, templates and tokenisation between client and engine, for each prompt token."""
    response_s: float = 0.001
    """Engine to client."""
    report_delay_s: float = 0.001
    """Client to router."""
    report_loss: float = 0.0
    """Requests that are never reported on."""
    failure_timeout_s: float = 1.0
    """Until a client sees that its endpoint has died."""
    lease_ttl_s: float = 5.0
    """Until the record of a dead pod is gone."""
    decision_s: float = 0.001
    """What a decision takes, as samples say it."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.routers < 1:
            raise InvalidField("routers", "a number from 1")
        for name in ("delta_loss", "delta_reorder", "report_loss"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidField(name, "a share from 0 to 1")
        for name in (f.name for f in fields(self) if "_s" in f.name):
            if not 0 <= getattr(self, name) < inf:
                raise InvalidField(name, "a finite time from 0")
        for name in ("load_interval_s", "announce_interval_s"):
            if getattr(self, name) == 0:
                raise InvalidField(name, "more than 0")
