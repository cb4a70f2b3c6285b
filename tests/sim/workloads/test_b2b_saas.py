"""The b2b-saas workload."""

from collections import Counter
from dataclasses import replace

import numpy as np

from sim.workload import Knobs
from sim.workloads.b2b_saas import B2bSaas
from tests.sim.workloads.offering import cacheable_share, consume, turns_of


def test_the_published_ladder_follows_a_warm_up_that_is_not_measured() -> None:
    """Rates, their order and about the published numbers of requests."""
    consumed = consume("b2b-saas")

    labels = [stage.label for stage, _ in consumed]
    assert labels[:4] == ["warm-up", "3/s", "10/s", "15/s"]
    assert labels[-1] == "60/s"
    assert len(labels) == 17
    assert [stage.is_measured for stage, _ in consumed] == [False] + [True] * 16
    assert abs(len(consumed[0][1]) - 750) < 5 * 750**0.5
    assert abs(len(consumed[-1][1]) - 1500) < 5 * 1500**0.5


def test_the_same_750_prompts_of_7200_tokens_return() -> None:
    """Five users share the first 6,000 tokens; nothing is appended."""
    sessions = [session for _, of_stage in consume("b2b-saas") for session in of_stage]
    prompts = Counter((session.context, session.turns[0].question) for session in sessions)

    assert len(prompts) == 750
    assert set(Counter(context for context, _ in prompts).values()) == {5}
    assert {
        (context[0].length_tokens, question[0].length_tokens) for context, question in prompts
    } == {(6000, 1200)}
    assert {len(session.turns) for session in sessions} == {1}


def test_a_known_prompt_is_cacheable_as_a_whole() -> None:
    """After the warm-up's half of all prompts, most tokens of a long stage have been seen."""
    _, sessions = consume("b2b-saas", rate_per_s=60.0, duration_s=100.0)[-1]

    assert 0.95 < cacheable_share(sessions) < 1


def test_one_rate_replaces_the_ladder_for_a_minute() -> None:
    """The warm-up stays."""
    (warm_up, _), (stage, sessions) = consume("b2b-saas", rate_per_s=7.0)

    assert not warm_up.is_measured
    assert stage.offered_per_s == 7.0
    assert 50 < sessions[-1].turns[0].at_s < 60


def test_groups_scale_with_the_fleet() -> None:
    """Sixteen pods serve twice the prompts."""
    _, sessions = consume("b2b-saas", pods=16, rate_per_s=100.0, duration_s=100.0)[-1]

    assert len({session.context for session in sessions}) == 300


def test_validation_can_vary_the_output_and_bound_the_requests_in_flight() -> None:
    """Both are fields."""
    variant = replace(B2bSaas(), output_tokens=250, max_in_flight=99)
    offered = variant.offered(Knobs(pods=8), np.random.default_rng(1))

    assert offered.max_in_flight == 99
    assert {turn.output_tokens for turn in turns_of(next(offered.stages).sessions)} == {250}
    assert {turn.output_tokens for turn in turns_of(consume("b2b-saas")[0][1])} == {1000}
