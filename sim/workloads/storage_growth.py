"""Growing users of the storage post (2026-02-09): can a fleet remember them all?

Each user has a prompt of 16,000 tokens, already seen, and asks for one output token; up to 250
users. A warm-up sends the prompts of the users that join; then all users send theirs again in a
closed loop.

Assumed: the user counts below 250, one pod, and six requests a user at each count. A user's
requests are turns of one session with a question of one token, so a prompt grows by two tokens with
each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from sim.offered import Offered, Session, Stage, Turn
from sim.seeds import seed_of, seed_space
from sim.tokens import Piece
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

PROMPT_TOKENS = 16_000
USERS = (10, 25, 50, 100, 150, 200, 250)
REQUESTS_PER_USER = 6


@dataclass(frozen=True, slots=True)
class StorageGrowth:
    """More and more users with long prompts that were seen before."""

    name: ClassVar[str] = "storage-growth"
    description: ClassVar[str] = "16,000-token prompts seen before, of more and more users"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(1, "llama-70b-4xh100")
    ladder: ClassVar[tuple[float, ...]] = USERS
    ladder_knob: ClassVar[LadderKnob] = "concurrency"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A warm-up and a stage for each user count, or for the one asked for."""
        check_knobs(knobs, takes=("concurrency",))
        counts = USERS if knobs.concurrency is None else (knobs.concurrency,)
        return Offered(_stages(counts))


def _stages(counts: tuple[int, ...]) -> Iterator[Stage]:
    for known, users in pairwise((0, *counts)):
        first = _ask(known, users, requests=1)
        yield Stage(f"{users} users warm-up", 0, first, is_measured=False)
        yield Stage(f"{users} users", 0, _ask(0, users, REQUESTS_PER_USER))


def _ask(begin: int, end: int, requests: int) -> Iterator[Session]:
    space = seed_space("storage-growth")
    for user in range(begin, end):
        prompt = Piece(seed_of(space, user, 0), PROMPT_TOKENS - 1)
        turns = tuple(
            Turn((Piece(seed_of(space, user, turn + 1), 1),), output_tokens=1)
            for turn in range(requests)
        )
        yield Session(f"{end}-{requests}-{user}", (prompt,), turns)


WORKLOAD: Workload = StorageGrowth()
