"""Replay of an Azure trace: only times and lengths are known, so nothing is shared.

`rate_per_s` compresses or stretches the trace to this mean rate, `scale` multiplies its rate,
`duration_s` cuts it. Pods change nothing. The fleet is a default, not a published one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from farsight.errors import InvalidField
from sim.offered import Offered, Session, Turn
from sim.seeds import seed_of, seed_space
from sim.tokens import Piece
from sim.traces.azure import AzureTrace, read_azure
from sim.traces.pace import Replay, paced
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs


@dataclass(frozen=True, slots=True)
class Azure:
    """Bursty arrivals without sharing."""

    name: ClassVar[str] = "azure"
    description: ClassVar[str] = "replay of an Azure trace (CSV), no sharing"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(4, "qwen3-32b-2xh100")
    ladder: ClassVar[tuple[float, ...]] = (5, 10, 20, 30, 40, 60)
    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """One stage; the trace is read and checked here."""
        check_knobs(knobs, takes=("trace", "rate_per_s", "scale", "duration_s"))
        if knobs.trace is None:
            raise InvalidField("trace", "an Azure file (CSV)")
        trace = read_azure(knobs.trace)
        replay = paced(trace.times_s, knobs)
        return Offered(iter([replay.stage(self.name, _sessions(trace, replay))]))


def _sessions(trace: AzureTrace, replay: Replay) -> Iterator[Session]:
    space = seed_space("azure")
    for number, at_s in enumerate(replay.times_s.tolist()):
        prompt = Piece(seed_of(space, number), int(trace.input_tokens[number]))
        yield Session(str(number), (), (Turn((prompt,), int(trace.output_tokens[number]), at_s),))


WORKLOAD: Workload = Azure()
