"""Predicts recorded requests with the engine model, sent at the same times."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from farsight.keys import CANONICAL_BLOCK_TOKENS, Keys, chain
from sim.engine.engines import Engines, Kind
from sim.engine.spec import EngineSpec, StepRates
from sim.validation.records import Observation, PodSizes


@dataclass(frozen=True, slots=True)
class Constants:
    """What a pod is calibrated to."""

    rates: StepRates
    request_s: float
    """What HTTP, validation and the ways between the processes add to a request, there and back."""
    request_s_per_token: float
    """The same, per token of the prompt."""
    output_s: float
    """What the API server takes to send one token; it sends those of a step one by one."""

    @property
    def vector(self) -> tuple[float, ...]:
        """All of them, as `of_vector` takes them."""
        overheads = self.request_s, self.request_s_per_token, self.output_s
        return *astuple(self.rates), *overheads

    @classmethod
    def of_vector(cls, vector: Iterable[float]) -> "Constants":
        """The rates of steps, then the overheads."""
        *rates, request_s, request_s_per_token, output_s = (float(value) for value in vector)
        return cls(StepRates(*rates), request_s, request_s_per_token, output_s)

    def slowed(self, factor: float) -> "Constants":
        """A machine on which everything takes `factor` times as long."""
        return Constants.of_vector(factor * value for value in self.vector)


@dataclass(frozen=True, slots=True)
class Script:
    """Requests as the engine model takes them, in the order of sending."""

    sent_s: tuple[float, ...]
    """From the first one on."""
    keys: tuple[Keys, ...]
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Predicted:
    """One request, as its client would have seen it."""

    ttft_s: float
    e2e_s: float
    cached_tokens: int
    preemptions: int


def script_of(observations: Sequence[Observation]) -> Script:
    """What was sent, without what came of it."""
    return Script(
        tuple(o.sent_s - observations[0].sent_s for o in observations),
        tuple(
            chain(0, np.array(o.prompt + o.output, np.uint32), CANONICAL_BLOCK_TOKENS)
            for o in observations
        ),
        tuple(len(o.prompt) for o in observations),
        tuple(len(o.output) for o in observations),
    )


def engine_spec(sizes: PodSizes, rates: StepRates) -> EngineSpec:
    """The pod as the simulator knows it."""
    return EngineSpec(
        rates=rates,
        kv_tokens=sizes.usable_blocks * sizes.block_tokens,
        block_tokens=sizes.block_tokens,
        max_batched_tokens=sizes.max_batched_tokens,
        max_sequences=sizes.max_requests,
    )


def replay(script: Script, sizes: PodSizes, constants: Constants) -> list[Predicted]:
    """Run a script on an engine with an empty cache; the result is in the script's order."""
    return _Replay(script, sizes, constants).run()


class _Replay:
    def __init__(self, script: Script, sizes: PodSizes, constants: Constants) -> None:
        self._script = script
        self._output_s = constants.output_s
        self._engines = Engines([engine_spec(sizes, constants.rates)])
        # A prompt that takes long to read does not let a later one past it.
        self._arrivals_s = np.maximum.accumulate(
            np.array(script.sent_s)
            + constants.request_s
            + constants.request_s_per_token * np.array(script.prompt_tokens)
        )
        self._number: dict[int, int] = {}
        self._first_s = np.full(len(script.sent_s), np.nan)
        self._found: dict[int, Predicted] = {}

    def run(self) -> list[Predicted]:
        """Everything that is asked, to its end."""
        for number, arrival_s in enumerate(self._arrivals_s):
            self._advance(float(arrival_s))
            slot = self._engines.submit(
                0,
                self._script.keys[number],
                self._script.prompt_tokens[number],
                self._script.output_tokens[number],
                float(arrival_s),
            )
            self._number[slot] = number
        self._advance(math.inf)
        return [self._found[number] for number in range(len(self._arrivals_s))]

    def _advance(self, until_s: float) -> None:
        while self._engines.next_s <= until_s and self._engines.next_s < math.inf:
            self._engines.advance(until_s)
            events = list(self._engines.take_events())
            self._engines.clear_taken()
            ended = sum(event.kind is Kind.FINISHED for event in events)
            sent = self._engines.gauges(0).running + ended
            for event in events:
                number = self._number[event.request]
                seen_s = event.time_s + sent * self._output_s
                if event.kind is Kind.FIRST_TOKEN:
                    self._first_s[number] = seen_s
                else:
                    self._finish(number, event.request, seen_s)

    def _finish(self, number: int, slot: int, time_s: float) -> None:
        sent_s = self._script.sent_s[number]
        progress = self._engines.progress(slot)
        self._found[number] = Predicted(
            float(self._first_s[number]) - sent_s,
            time_s - sent_s,
            progress.cached_tokens,
            progress.preemptions,
        )
        self._engines.release(slot)
        del self._number[slot]
