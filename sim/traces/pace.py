"""How fast a trace is replayed."""

from collections.abc import Iterator
from dataclasses import dataclass

from farsight.errors import InvalidField
from sim.arrivals import Times
from sim.offered import Session, Stage
from sim.workload import Knobs


@dataclass(frozen=True, slots=True)
class Replay:
    """The requests of a trace that are sent: the first `times_s.size` of it."""

    times_s: Times

    def stage(self, name: str, sessions: Iterator[Session]) -> Stage:
        """One stage with the mean rate of the replay."""
        span_s = float(self.times_s[-1]) if self.times_s.size else 0.0
        rate_per_s = self.times_s.size / span_s if span_s > 0 else float(self.times_s.size)
        return Stage(f"{name} {rate_per_s:.3g}/s", rate_per_s, sessions)


def paced(times_s: Times, knobs: Knobs) -> Replay:
    """Times from 0, compressed by `scale` or to the mean `rate_per_s`, cut at `duration_s`."""
    since_s = times_s - times_s[0]
    speed = knobs.scale
    if knobs.rate_per_s is not None:
        if knobs.scale != 1.0:
            raise InvalidField("scale", "it unset where rate_per_s is set")
        if since_s[-1] <= 0:
            raise InvalidField("rate_per_s", "it unset: the trace has no span of time")
        speed = knobs.rate_per_s / (since_s.size / float(since_s[-1]))
    since_s = since_s / speed
    if knobs.duration_s is not None:
        since_s = since_s[since_s < knobs.duration_s]
    return Replay(since_s)
