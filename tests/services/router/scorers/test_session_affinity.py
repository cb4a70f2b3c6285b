"""The `session-affinity` scorer."""

from collections import Counter

import numpy as np

from services.router.candidates import Candidates
from services.router.scorers.session_affinity import SessionAffinity
from tests.services.router.given import candidates, view

SESSIONS = [f"user-{i}" for i in range(2000)]


def home(session_id: str, seen: Candidates) -> str:
    """The one endpoint that scores 1; the others score 0."""
    scores = SessionAffinity()(view(session_id=session_id), seen)
    assert sorted(scores.tolist()) == [0.0] * (len(seen) - 1) + [1.0]
    return seen.endpoint_ids[int(scores.argmax())]


def test_without_a_session_everybody_scores_1() -> None:
    """Nothing to stick to."""
    assert SessionAffinity()(view(), candidates(3)).tolist() == [1, 1, 1]


def test_a_session_has_one_home_whatever_the_order_of_candidates() -> None:
    """Each replica of the router finds the same one."""
    seen = candidates(8)
    shuffled = seen.subset(np.array([5, 2, 7, 0, 1, 6, 3, 4]))

    assert [home(s, seen) for s in SESSIONS[:50]] == [home(s, shuffled) for s in SESSIONS[:50]]


def test_sessions_are_spread_evenly() -> None:
    """Each of 8 endpoints has its 250 of 2,000, within four standard deviations."""
    seen = candidates(8)

    homes = Counter(home(session, seen) for session in SESSIONS)

    assert len(homes) == 8
    assert all(abs(count - 250) < 60 for count in homes.values())


def test_only_the_sessions_of_an_endpoint_that_leaves_move() -> None:
    """And they are spread over those that stay."""
    seen = candidates(8)
    left = seen.subset(np.array([0, 1, 2, 4, 5, 6, 7]))
    before = {session: home(session, seen) for session in SESSIONS}

    after = {session: home(session, left) for session in SESSIONS}

    moved = {session for session in SESSIONS if before[session] != after[session]}
    assert moved == {session for session in SESSIONS if before[session] == "e3"}
    assert len({after[session] for session in moved}) == 7


def test_ids_that_are_not_ascii_are_hashed() -> None:
    """A session id is any text."""
    assert home("Zoë 🦊", candidates(3)) in ("e0", "e1", "e2")
