"""What a workload offers, consumed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sim.offered import Offered, Session, Stage, Turn
from sim.workload import Knobs, load_workload

TRACES = Path(__file__).parents[1] / "traces" / "data"
TRACE_OF = {"mooncake": "mooncake_excerpt.jsonl", "azure": "azure_excerpt.csv"}

Consumed = list[tuple[Stage, list[Session]]]


def offer(name: str, seed: int = 1, **knobs: Any) -> Offered:
    """The load of a workload at its own fleet, with its excerpt where it replays a trace."""
    workload = load_workload(name)
    if name in TRACE_OF:
        knobs.setdefault("trace", TRACES / TRACE_OF[name])
    turned = Knobs(**{"pods": workload.fleet.pods, **knobs})
    return workload.offered(turned, np.random.default_rng(seed))


def consume(name: str, seed: int = 1, **knobs: Any) -> Consumed:
    """All stages with all their sessions."""
    return [(stage, list(stage.sessions)) for stage in offer(name, seed, **knobs).stages]


def turns_of(sessions: Iterable[Session]) -> list[Turn]:
    """The turns of all sessions."""
    return [turn for session in sessions for turn in session.turns]


def question_tokens(turn: Turn) -> int:
    """Tokens that a turn adds to its session."""
    return sum(piece.length_tokens for piece in turn.question)


def cacheable_share(sessions: Iterable[Session]) -> float:
    """Share of prompt tokens that one cache without bounds would know."""
    known: set[int] = set()
    total = cached = 0
    for session, number in _requests(sessions):
        prompt = _prompt(session, number)
        chain = 0
        for content, tokens in prompt:
            chain = hash((chain, content))
            total += tokens
            cached += tokens if chain in known else 0
            known.add(chain)
        # An engine keeps what it generates.
        known.add(hash((chain, (session.session_id, number))))
    return cached / total


def _requests(sessions: Iterable[Session]) -> list[tuple[Session, int]]:
    """Session and number of each turn, in the order of their time."""
    turns = [(session, number) for session in sessions for number in range(len(session.turns))]
    return sorted(turns, key=lambda turn: turn[0].turns[turn[1]].at_s)


def _prompt(session: Session, number: int) -> list[tuple[object, int]]:
    """Contents and lengths of a turn's prompt; an answer is content of its own."""
    prompt: list[tuple[object, int]] = [(p.seed, p.length_tokens) for p in session.context]
    for earlier, turn in enumerate(session.turns[: number + 1]):
        prompt += [(p.seed, p.length_tokens) for p in turn.question]
        if earlier < number:
            prompt.append(((session.session_id, earlier), turn.output_tokens))
    return prompt
