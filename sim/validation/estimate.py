"""Constants in closed form, from the calibration's isolated probes.

What a client saw is linear in the constants: the time to the first token of a request that was
alone, and the time between tokens while a known set of requests decodes.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from sim.engine.spec import StepRates
from sim.validation.probes import DECODE, PREFILL
from sim.validation.records import Observation, PodSizes
from sim.validation.replay import Constants
from sim.validation.robust import Float64s, robust_nnls

# Columns of a row, and then what was measured.
_REQUEST, _REQUEST_TOKEN, _BASE, _PREFILL, _ATTENTION, _SEQUENCE, _CONTEXT = range(7)
_COLUMNS = 7

Row = tuple[Float64s, float]


def estimate(calibration: Sequence[Observation], sizes: PodSizes) -> Constants:
    """Constants of the isolated probes; there is at least one of each kind."""
    rows = [*prefill_rows(calibration, sizes), *decode_rows(calibration)]
    terms, measured_s = np.stack([row for row, _ in rows]), np.array([s for _, s in rows])
    found = [float(value) for value in robust_nnls(terms, measured_s, measured_s)]
    return Constants(
        StepRates(
            found[_BASE], found[_PREFILL], found[_ATTENTION], found[_SEQUENCE], found[_CONTEXT]
        ),
        found[_REQUEST],
        found[_REQUEST_TOKEN],
        0.0,  # part of the others: alone, a request's token is the only one of its step
    )


def prefill_rows(calibration: Sequence[Observation], sizes: PodSizes) -> Iterator[Row]:
    """Times to the first token of requests that were alone."""
    for request in calibration:
        if request.label != PREFILL:
            continue
        row = np.zeros(_COLUMNS)
        row[_REQUEST], row[_REQUEST_TOKEN] = 1, len(request.prompt)
        at = request.cached_tokens
        while at < len(request.prompt):
            new = min(sizes.max_batched_tokens, len(request.prompt) - at)
            row[_BASE] += 1
            row[_PREFILL] += new
            row[_ATTENTION] += new * (at + new / 2)
            at += new
        yield row, request.ttft_s


def decode_rows(calibration: Sequence[Observation]) -> Iterator[Row]:
    """Mean times between tokens from the last first token of a batch to its first end."""
    for batch in _batches(o for o in calibration if o.label == DECODE):
        start_s = max(o.token_s[0] for o in batch)
        end_s = min(o.token_s[-1] for o in batch)
        one = batch[0]
        inside = [i for i, s in enumerate(one.token_s) if start_s <= s <= end_s]
        if len(inside) < 2:
            continue
        generated = (inside[0] + inside[-1]) / 2
        row = np.zeros(_COLUMNS)
        row[_BASE], row[_SEQUENCE] = 1, len(batch)
        row[_CONTEXT] = sum(len(o.prompt) for o in batch) + len(batch) * generated
        # Not step by step: the API server sends what it is late with in one piece.
        steps_s = one.token_s[inside[-1]] - one.token_s[inside[0]]
        if steps_s > 0:
            yield row, steps_s / (len(inside) - 1)


def _batches(requests: Iterator[Observation]) -> Iterator[list[Observation]]:
    """Runs of requests that overlap."""
    number, open_until_s = 0, -np.inf
    numbered = []
    for request in requests:
        number += request.sent_s > open_until_s
        open_until_s = max(open_until_s, request.token_s[-1])
        numbered.append((number, request))
    for _, run in groupby(numbered, key=lambda pair: pair[0]):
        yield [request for _, request in run]
