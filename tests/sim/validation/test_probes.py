"""The calibration set."""

import numpy as np

from sim.validation.probes import DECODE, MIXED, PREFILL, calibration_round
from tests.sim.validation.given import SIZES


def test_a_round_has_every_kind_and_a_seed_decides_it() -> None:
    """Order included."""
    first = calibration_round(np.random.default_rng(1))

    assert {probe.label for probe in first} == {PREFILL, DECODE, MIXED}
    assert first == calibration_round(np.random.default_rng(1))
    assert [p.label for p in first] != [
        p.label for p in calibration_round(np.random.default_rng(2))
    ]


def test_no_probe_repeats_what_another_one_sent() -> None:
    """Only the prompts of one prefill probe share a beginning."""
    starts = [
        {tuple(prompt[:32]) for prompt in probe.prompts}
        for probe in calibration_round(np.random.default_rng(1))
    ]

    assert len(set.union(*starts)) == sum(len(s) for s in starts)


def test_every_probe_fits_the_pod() -> None:
    """In its sequence length, its slots and its cache: no calibration request is ever preempted."""
    for probe in calibration_round(np.random.default_rng(1)):
        lengths = [
            len(prompt) + count
            for prompt, count in zip(probe.prompts, probe.output_tokens, strict=True)
        ]
        assert max(lengths) <= SIZES.max_model_tokens
        if probe.offsets_s is not None:
            assert len(lengths) <= SIZES.max_requests
            assert sum(-(-n // SIZES.block_tokens) for n in lengths) <= SIZES.usable_blocks
