"""Replay of a Mooncake trace: blocks with equal hash ids are equal content.

`rate_per_s` compresses or stretches the trace to this mean rate, `scale` multiplies its rate,
`duration_s` cuts it. Pods change nothing. The fleet is a default, not a published one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from farsight.errors import InvalidField
from sim.offered import Offered, Session, Turn
from sim.traces.mooncake import MooncakeTrace, read_mooncake
from sim.traces.pace import Replay, paced
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs


@dataclass(frozen=True, slots=True)
class Mooncake:
    """Long prompts with known sharing."""

    name: ClassVar[str] = "mooncake"
    description: ClassVar[str] = "replay of a Mooncake trace (JSON lines with hash_ids)"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(8, "qwen3-32b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = (2, 4, 6, 8, 10, 12, 16)
    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """One stage; the trace is read and checked here."""
        check_knobs(knobs, takes=("trace", "rate_per_s", "scale", "duration_s"))
        if knobs.trace is None:
            raise InvalidField("trace", "a Mooncake file (JSON lines)")
        trace = read_mooncake(knobs.trace)
        replay = paced(trace.spread_times(rng), knobs)
        return Offered(iter([replay.stage(self.name, _sessions(trace, replay))]))


def _sessions(trace: MooncakeTrace, replay: Replay) -> Iterator[Session]:
    outputs = trace.output_tokens.tolist()
    requests = zip(replay.times_s.tolist(), outputs, trace.prompts(), strict=False)
    for number, (at_s, output_tokens, prompt) in enumerate(requests):
        yield Session(str(number), (), (Turn(prompt, output_tokens, at_s),))


WORKLOAD: Workload = Mooncake()
