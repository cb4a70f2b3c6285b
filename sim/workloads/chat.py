"""A chat like ShareGPT, the fifth scenario of the predicted-latency post (2026-03-13).

Known: questions of 161 and answers of 338 tokens on average (Kwon et al., "Efficient Memory
Management for Large Language Model Serving with PagedAttention", SOSP 2023), 3.5 turns in a
conversation on average (94,145 conversations with 330,239 turns).

Assumed: lognormal lengths and their deviations; no system prompt; geometric turn counts of at most
12; a user sends every 15 s on average and starts a new conversation when one is over; the rates of
the ladder. So nothing is shared but the history of a conversation. Conversations begin anew with
each rate and are cut off by its end, which leaves about 2.5 turns on average.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sim.arrivals import Times, poisson_times
from sim.lengths import LogNormal
from sim.offered import Offered, Session, Turn
from sim.open_loop import Point, open_loop, points_of
from sim.seeds import seed_of, seed_space
from sim.shared_prefix import grouped
from sim.tokens import Piece
from sim.workload import Knobs, LadderKnob, PublishedFleet, Workload, check_knobs

QUESTION = LogNormal(161, 230, low=4, high=4096)
ANSWER = LogNormal(338, 300, low=4, high=2048)
MEAN_TURNS = 3.5
MAX_TURNS = 12
RETURN_S = 15.0
DURATION_S = 100.0


@dataclass(frozen=True, slots=True)
class Chat:
    """Short conversations that share nothing with each other."""

    name: ClassVar[str] = "chat"
    description: ClassVar[str] = "short conversations like ShareGPT's; none shares with another"
    fleet: ClassVar[PublishedFleet] = PublishedFleet(8, "h100-1")
    ladder: ClassVar[tuple[float, ...]] = (5, 10, 20, 30, 40, 60, 80)
    ladder_knob: ClassVar[LadderKnob] = "rate_per_s"

    def offered(self, knobs: Knobs, rng: np.random.Generator) -> Offered:
        """A stage for each rate of the ladder, or the one rate asked for."""
        check_knobs(knobs, takes=("rate_per_s", "duration_s"))

        def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
            times = poisson_times(point.rate_per_s, point.duration_s, rng)
            users = max(1, round(point.rate_per_s * RETURN_S))
            return _talk(times, _conversation_labels(times.size, users, rng), stage, rng)

        return Offered(open_loop(points_of(knobs, self.ladder, DURATION_S), sessions, rng))


def _conversation_labels(
    requests: int, users: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Which conversation each request belongs to."""
    labels = np.empty(requests, np.int64)
    label = 0
    for of_user in grouped(rng.integers(users, size=requests)):
        begin = 0
        while begin < of_user.size:
            turns = min(int(rng.geometric(1 / MEAN_TURNS)), MAX_TURNS)
            labels[of_user[begin : begin + turns]] = label
            label += 1
            begin += turns
    return labels


def _talk(
    times: Times, labels: npt.NDArray[np.int64], stage: int, rng: np.random.Generator
) -> Iterator[Session]:
    questions = QUESTION.draw(times.size, rng)
    answers = ANSWER.draw(times.size, rng)
    space = seed_space("chat/question")
    for requests in grouped(labels):
        turns = tuple(
            Turn(
                (Piece(seed_of(space, stage, number), int(questions[number])),),
                int(answers[number]),
                float(times[number]),
            )
            for number in requests.tolist()
        )
        yield Session(f"{stage}-{labels[requests[0]]}", (), turns)


WORKLOAD: Workload = Chat()
