"""What a workload offers: stages of sessions of turns.

A session is one user, agent or conversation. Its turns follow each other: the prompt of a turn is
the session's context (what it began with, and every earlier question and answer) and the turn's
question. A turn is sent at its time, but never before the one before it has ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sim.tokens import Piece


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a session."""

    question: tuple[Piece, ...]
    output_tokens: int
    at_s: float = 0.0
    """Earliest time, from the start of the stage."""
    gap_s: float = 0.0
    """Least time after the end of the turn before."""


@dataclass(frozen=True, slots=True)
class Session:
    """Turns that build on each other; `turns` is not empty."""

    session_id: str
    context: tuple[Piece, ...]
    """What the first prompt begins with."""
    turns: tuple[Turn, ...]
    lora: str = ""
    slo_ttft_ms: float | None = None
    slo_tpot_ms: float | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """Sessions in the order of their first turn's time.

    The stage ends when its last request has ended; the next one begins then.
    """

    label: str
    """What the report calls it, for example `20/s`."""
    offered_per_s: float
    """Requests a second that it offers; 0 for a closed loop."""
    sessions: Iterator[Session]
    is_measured: bool = True
    """False for a warm-up."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The load on a fleet, and what the client side of it allows."""

    stages: Iterator[Stage]
    max_in_flight: int | None = None
    """Requests that the load generator has open at most; further ones wait at the client."""
    max_sessions: int | None = None
    """Sessions that are active at the same time at most: the users of a closed loop."""
