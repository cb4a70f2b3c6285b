"""Groups of users: a group shares a system prompt, each user asks on top of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.arrivals import Times
from sim.lengths import Lengths
from sim.offered import Session, Turn
from sim.seeds import seed_of, seed_space
from sim.tokens import Piece


@dataclass(frozen=True, slots=True)
class Population:
    """Groups x users of one workload."""

    name: str
    """The workload: equal names have equal contents."""
    groups: int
    users_per_group: int
    system_tokens: int

    @property
    def users(self) -> int:
        """How many there are in all groups."""
        return self.groups * self.users_per_group

    def for_pods(self, pods: int, published_pods: int) -> "Population":
        """With as many groups per pod as published, at least one in all."""
        return replace(self, groups=max(1, round(self.groups * pods / published_pods)))

    def system(self, user: int) -> tuple[Piece, ...]:
        """The system prompt of a user's group."""
        group = user // self.users_per_group
        return (Piece(seed_of(seed_space(f"{self.name}/system"), group), self.system_tokens),)

    def question(self, length_tokens: int, *ids: int) -> tuple[Piece, ...]:
        """The question that some integers name."""
        return (Piece(seed_of(seed_space(f"{self.name}/question"), *ids), length_tokens),)


def single_turns(
    population: Population, question: Lengths, output: Lengths, times: Times, stage: int,
    rng: np.random.Generator,
) -> Iterator[Session]:  # fmt: skip
    """Requests of users drawn uniformly, each with a new question and without a history."""
    users = rng.integers(population.users, size=times.size).tolist()
    questions = question.draw(times.size, rng).tolist()
    outputs = output.draw(times.size, rng).tolist()
    for number, (user, at_s) in enumerate(zip(users, times.tolist(), strict=True)):
        asked = population.question(questions[number], stage, number)
        turn = Turn(asked, outputs[number], at_s)
        yield Session(f"{stage}-{number}", population.system(user), (turn,))


def conversations(
    population: Population, question: Lengths, output: Lengths, times: Times, stage: int,
    rng: np.random.Generator,
) -> Iterator[Session]:  # fmt: skip
    """Requests of users drawn uniformly; the requests of a user are turns of one session."""
    users = rng.integers(population.users, size=times.size)
    questions = question.draw(times.size, rng)
    outputs = output.draw(times.size, rng)
    for requests in grouped(users):
        user = int(users[requests[0]])
        turns = tuple(
            Turn(
                population.question(int(questions[number]), stage, number),
                int(outputs[number]),
                float(times[number]),
            )
            for number in requests.tolist()
        )
        yield Session(f"{stage}-{user}", population.system(user), turns)


def grouped(labels: npt.NDArray[np.integer[Any]]) -> Iterator[npt.NDArray[np.intp]]:
    """Positions of equal labels, in order; groups in the order of their first position."""
    order = np.argsort(labels, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(labels[order])) + 1, order.size)
    starts = np.insert(ends[:-1], 0, 0)[: order.size]
    for group in np.argsort(order[starts]).tolist():
        yield order[starts[group] : ends[group]]
