"""When stages and sessions begin, and how many are under way."""

import asyncio
from collections.abc import Iterator

import pytest

from sim.offered import Session
from sim.policy import load_policy
from sim.request_log import Rows
from sim.simulation import Setup, Simulation
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


def spans(rows: Rows, names: list[str]) -> dict[str, tuple[float, float]]:
    """First send and last end of each session, whose prompts have a length of their own."""
    found = {}
    for name in names:
        mine = rows[rows["prompt_tokens"] % 1000 == int(name)]
        found[name] = float(mine["sent_s"].min()), float(mine["ended_s"].max())
    return found


def test_a_stage_begins_when_the_last_request_of_the_one_before_has_ended() -> None:
    """At that moment, so its times count from there; a long answer holds it up."""
    first = [*singles(5, 0.1, seed=1), session("long", ask(77, 100, 300, at_s=0.6))]
    second = singles(5, 0.5, seed=2)

    rows = play(offered(first, [], second), [engine()]).rows

    ended_s = rows["ended_s"][rows["stage"] == 0].max()
    sent_s = rows["sent_s"][rows["stage"] == 2]
    assert set(rows["stage"].tolist()) == {0, 2}
    assert ended_s > 3
    assert sent_s.tolist() == [ended_s + 0.5 * i for i in range(5)]


def test_sessions_begin_at_their_times() -> None:
    """However busy the fleet is: an open loop."""
    rows = play(offered(singles(40, 0.01, tokens=1000)), [engine()]).rows

    assert rows["arrived_s"].tolist() == rows["sent_s"].tolist()
    assert rows["sent_s"].tolist() == [0.01 * i for i in range(40)]
    assert rows["ended_s"].max() > 4


def pausing(name: str) -> Session:
    """Three turns with pauses; every prompt's length, modulo 1,000, is the name."""
    turns = (ask(10 * int(name) + turn, 1000 - 4 * (turn > 0), 4, gap_s=0.3) for turn in range(3))
    return session(name, *turns, context=[Piece(int(name), int(name))])


@pytest.mark.parametrize("users", [1, 3])
def test_no_more_sessions_are_active_than_there_are_users(users: int) -> None:
    """A session is active from its first turn to the end of its last one, pauses included."""
    names = [str(number) for number in range(101, 113)]

    load = offered([pausing(name) for name in names], max_sessions=users)
    rows = play(load, [engine()] * 2).rows

    starts_s, ends_s = zip(*spans(rows, names).values(), strict=True)
    assert most_at_once(starts_s, ends_s) == users
    assert len(rows) == 36


def test_users_begin_with_the_next_session_when_theirs_has_ended() -> None:
    """At once, in the order of the sessions: a closed loop."""
    rows = play(offered(singles(9), max_sessions=3), [engine()] * 3, "round-robin").rows

    ended_s = sorted(rows["ended_s"].tolist())
    assert rows["sent_s"].tolist() == [0.0, 0.0, 0.0, *ended_s[:6]]


def test_users_wait_for_a_session_that_is_not_due() -> None:
    """Room alone starts nothing before its time."""
    rows = play(offered(singles(4, 5.0), max_sessions=3), [engine()]).rows

    assert rows["sent_s"].tolist() == [0.0, 5.0, 10.0, 15.0]


def test_sessions_are_drawn_when_they_are_due() -> None:
    """A long stage takes no more memory than a short one."""
    sent, simulation = list[int](), list[Simulation]()

    def sessions() -> Iterator[Session]:
        for made in singles(20, 1.0):
            sent.append(len(simulation[0].log))
            yield made

    setup = Setup((engine(),), None, load_policy("random"), REPORTED, 1)
    simulation.append(Simulation(setup, offered(sessions())))
    asyncio.run(simulation[0].run())

    assert sent == list(range(20))
