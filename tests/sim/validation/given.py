"""A pod whose constants are known: what its clients would have recorded."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sim.engine.spec import StepRates
from sim.validation.probes import Probe, calibration_round
from sim.validation.records import Observation, PodSizes
from sim.validation.replay import Constants, Predicted, replay, script_of

SIZES = PodSizes()
TRUTH = Constants(StepRates(2.5e-3, 6e-5, 5e-8, 4e-5, 5e-7), 7e-3, 1e-6, 3e-4)
GAP_S = 0.05


def asked(
    prompt: list[int], output_tokens: int, sent_s: float = 0.0, label: str = "mixed"
) -> Observation:
    """A request whose tokens have not come yet."""
    output = [4000 + i for i in range(output_tokens)]
    return Observation(label, sent_s, prompt, output, [sent_s] * output_tokens, 0)


def answered(request: Observation, found: Predicted) -> Observation:
    """The request with the answer that was predicted, its tokens at equal distances."""
    times = np.linspace(found.ttft_s, found.e2e_s, len(request.output)) + request.sent_s
    return replace(
        request,
        token_s=[float(time_s) for time_s in times],
        cached_tokens=found.cached_tokens,
    )


def calibration(seed: int, constants: Constants = TRUTH) -> list[Observation]:
    """One round of probes on a pod with these constants."""
    requests: list[Observation] = []
    start_s = 0.0
    for probe in calibration_round(np.random.default_rng(seed)):
        at_s = start_s
        for i, (prompt, count) in enumerate(zip(probe.prompts, probe.output_tokens, strict=True)):
            sent_s = start_s + probe.offsets_s[i] if probe.offsets_s else at_s
            requests.append(asked(prompt, count, sent_s, probe.label))
            at_s += 1.0
        start_s += _longest_s(probe) + GAP_S
    found = replay(script_of(requests), SIZES, constants)
    return [answered(request, one) for request, one in zip(requests, found, strict=True)]


def _longest_s(probe: Probe) -> float:
    """Enough for the probe to end before the next one starts."""
    return 10.0 + len(probe.prompts)


def slowed(requests: Iterable[Observation], every: int, factor: float) -> list[Observation]:
    """The same with every so many requests held up by something else."""
    return [
        replace(r, token_s=[r.sent_s + factor * (s - r.sent_s) for s in r.token_s])
        if i % every == 0
        else r
        for i, r in enumerate(requests)
    ]
