"""What clients send and when, and what they tell the routers."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.keys import CANONICAL_BLOCK_TOKENS
from sim.environment import Environment
from sim.offered import Offered, Session, Stage, Turn
from sim.request_log import Status
from sim.tokens import Piece
from tests.sim.small_fleets import (
    REPORTED,
    ask,
    engine,
    most_at_once,
    offered,
    play,
    session,
    singles,
)

SYSTEM = Piece(5, 100)


def test_a_prompt_is_the_context_the_questions_and_the_answers_so_far() -> None:
    """Each turn finds in the cache all that its session had computed before."""
    turns = [ask(1, 60, 20), ask(2, 41, 33), ask(3, 7, 5)]

    rows = play(offered([session("s", *turns, context=[SYSTEM])]), [engine()]).rows

    assert rows["prompt_tokens"].tolist() == [160, 160 + 20 + 41, 160 + 20 + 41 + 33 + 7]
    assert rows["output_tokens"].tolist() == [20, 33, 5]
    # The last token of an answer is never computed.
    computed = [160 + 20 - 1, 160 + 20 + 41 + 33 - 1]
    reusable = [tokens // CANONICAL_BLOCK_TOKENS * CANONICAL_BLOCK_TOKENS for tokens in computed]
    assert rows["cached_tokens"].tolist() == [0, *reusable]
    assert rows["cached_predicted_tokens"].tolist() == [0, *reusable]


def test_a_turn_waits_for_its_time_and_for_the_turn_before() -> None:
    """And leaves the pause behind it that the user takes."""
    turns = [ask(1, 200, 100), ask(2, at_s=0.5, gap_s=0.25), ask(3, at_s=9.0, gap_s=0.25)]

    rows = play(offered([session("s", *turns)]), [engine()]).rows

    sent_s, ended_s = rows["sent_s"], rows["ended_s"]
    assert ended_s[0] > 0.5
    assert sent_s.tolist() == [0.0, ended_s[0] + 0.25, 9.0]


def test_answers_of_different_requests_share_nothing() -> None:
    """Equal questions are followed by answers of their own, so only the question is cached."""
    turns = [ask(1, 160, 64), ask(2, 16, 4)]
    sessions = [session(f"{i}", *(replace(t, at_s=5.0 * i) for t in turns)) for i in range(2)]

    rows = play(offered(sessions), [engine()]).rows

    assert rows["prompt_tokens"].tolist() == [160, 240, 160, 240]
    assert rows["cached_tokens"].tolist() == [0, 208, 144, 208]


def test_no_question_is_an_answer_by_accident() -> None:
    """Whatever number a workload names its contents with, the first request's own number too."""
    asked = session("asked", ask(1, 160, 64))
    guessing = Turn((Piece(1, 160), Piece(0, 64)), 4, at_s=5.0)

    rows = play(offered([asked, session("guessing", guessing)]), [engine()]).rows

    assert rows["cached_tokens"].tolist() == [0, 160]


@pytest.mark.parametrize("limit", [1, 4])
def test_no_more_requests_are_open_than_the_load_generator_allows(limit: int) -> None:
    """The others wait there, in order, and their waiting is in the log."""
    load = offered(singles(40, 0.01), max_in_flight=limit)

    played = play(load, [engine()])

    rows = played.rows
    assert most_at_once(rows["sent_s"].tolist(), rows["ended_s"].tolist()) == limit
    assert rows["arrived_s"].tolist() == [0.01 * i for i in range(40)]
    wait_s = rows["sent_s"] - rows["arrived_s"]
    assert (wait_s[:limit] == 0).all()
    assert (wait_s[limit:] > 0).all()
    assert rows["sent_s"].tolist() == sorted(rows["sent_s"].tolist())
    assert played.outcome.overall.client_wait_s == pytest.approx(float(wait_s.mean()))


def test_latency_does_not_count_what_a_request_waited_at_the_client() -> None:
    """It begins when the request is sent."""
    alone = play(offered(singles(40, 1.0)), [engine()]).outcome.overall
    queued = play(offered(singles(40), max_in_flight=1), [engine()]).outcome.overall

    assert queued.client_wait_s is not None
    assert queued.client_wait_s > 1
    assert queued.ttft.p99_s == pytest.approx(alone.ttft.p99_s)


def test_delays_add_up_as_the_environment_says() -> None:
    """Way to the router and engine, overhead for each prompt token, and the way back."""
    environment = Environment(
        dispatch_s=0.5, prompt_overhead_s_per_token=0.001, response_s=0.25, report_delay_s=0.0
    )
    quick = Environment(dispatch_s=0.0, response_s=0.0, report_delay_s=0.0)
    load = singles(3, 3.0, tokens=400)

    near = play(offered(list(load)), [engine()], environment=quick).rows
    far = play(offered(list(load)), [engine()], environment=environment).rows

    for field, longer_s in (("first_token_s", 0.5 + 0.4 + 0.25), ("ended_s", 0.5 + 0.4 + 0.25)):
        assert (far[field] - near[field]).tolist() == pytest.approx([longer_s] * 3)


@pytest.mark.parametrize("policy", ["predicted-analytic", "oracle"])
def test_targets_of_a_session_go_before_those_of_the_run(policy: str) -> None:
    """They are in the log, where goodput is counted from."""
    strict = Session("strict", (), (ask(1),), slo_ttft_ms=1.0, slo_tpot_ms=2000.0)
    plain = session("plain", ask(2, at_s=1.0))

    rows = play(offered([strict, plain]), [engine()], policy).rows

    assert rows["slo_ttft_ms"][0] == 1.0
    assert rows["slo_tpot_ms"][0] == 2000.0
    assert np.isnan(rows["slo_ttft_ms"][1])


def test_routers_hear_what_clients_measured() -> None:
    """Time to first token from dispatch, cached tokens and the length of the answer."""
    played = play(offered(singles(5, 1.0)), [engine()], "predicted-analytic")

    control, rows = played.simulation.control_plane, played.rows
    assert control is not None
    parts = control.replicas[0].parts
    tally = parts.outcomes.tallies["pod-000"]
    dispatched_s = rows["sent_s"] + REPORTED.dispatch_s
    assert [ms for _, ms in tally.ttft_ms] == pytest.approx(
        ((rows["first_token_s"] - dispatched_s) * 1000).tolist()
    )
    assert [ms for ms, _ in tally.ttft_ms] == pytest.approx(
        (rows["ttft_predicted_s"] * 1000).tolist()
    )
    assert (tally.requests, tally.prompt_tokens) == (5, 1000)
    assert parts.lengths.expected("sim", 0) == 8


def test_an_unmeasured_stage_is_in_the_log_and_not_in_the_figures() -> None:
    """A warm-up fills caches."""
    stages = [
        Stage("warm-up", 0.0, iter([session("a", ask(1, 320))]), is_measured=False),
        Stage("measured", 0.0, iter([session("b", ask(1, 320))])),
    ]

    played = play(Offered(iter(stages)), [engine()])

    assert (played.rows["status"] == Status.COMPLETED).all()
    assert played.rows["cached_tokens"].tolist() == [0, 304]
    assert played.outcome.overall.requests == 1
    assert played.outcome.overall.cached_token_share == 304 / 320


def test_a_request_that_a_pod_can_never_hold_fails_alone() -> None:
    """The engine answers with an error at once; the others and the run go on."""
    huge = session("huge", ask(1, 9_000, 4))

    played = play(offered([huge, *singles(3, 0.1)]), [engine()])

    assert played.rows["status"].tolist() == [Status.FAILED, *[Status.COMPLETED] * 3]
    assert played.outcome.overall.failed == 1
