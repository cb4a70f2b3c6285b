"""Small fleets, loads that queue and evict on them, and runs to the end."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.engine.spec import EngineSpec, StepRates, TierSpec
from sim.environment import Environment
from sim.offered import Offered, Session, Stage, Turn
from sim.policy import Policy, load_policy
from sim.request_log import Rows
from sim.simulation import Outcome, Setup, Simulation
from sim.tokens import Piece

# 10,000 prefill tokens a second, some 12 ms a decode step.
RATES = StepRates(1e-2, 1e-4, 1e-9, 1e-4, 1e-7)
HOST = TierSpec(4096, 1e-6, 1e-3)
# The last report of a run is taken before the run is over.
REPORTED = Environment(report_delay_s=0.0)


def rates(slowness: float) -> StepRates:
    """Steps that take so many times as long."""
    return StepRates(
        RATES.base_s * slowness,
        RATES.prefill_s_per_token * slowness,
        RATES.attention_s_per_token_squared * slowness,
        RATES.decode_s_per_sequence * slowness,
        RATES.decode_s_per_context_token * slowness,
    )


def engine(
    tokens: int = 8192,
    block_tokens: int = 16,
    slowness: float = 1.0,
    host: TierSpec | None = None,
    mounts_storage: bool = False,
    loras: int = 0,
) -> EngineSpec:
    """An engine whose cache holds so many tokens, in whole blocks."""
    return EngineSpec(
        rates(slowness),
        kv_tokens=tokens,
        block_tokens=block_tokens,
        host=host,
        mounts_storage=mounts_storage,
        max_loras=loras,
    )


def ask(
    seed: int, tokens: int = 200, output_tokens: int = 8, at_s: float = 0.0, gap_s: float = 0.0
) -> Turn:
    """A turn whose question is one piece."""
    return Turn((Piece(seed, tokens),), output_tokens, at_s, gap_s)


def session(name: str, *turns: Turn, context: Sequence[Piece] = (), lora: str = "") -> Session:
    """A session, without a context unless told."""
    return Session(name, tuple(context), turns, lora=lora)


def singles(count: int, every_s: float = 0.0, seed: int = 0, tokens: int = 200) -> list[Session]:
    """Requests that share nothing, one after the other at fixed times."""
    return [
        session(f"{seed}-{i}", ask(1_000 * seed + i + 1, tokens, at_s=i * every_s))
        for i in range(count)
    ]


def crowd(count: int, per_s: float, seed: int = 1, gap_s: float = 0.05) -> list[Session]:
    """Sessions of one to three turns at Poisson times; five groups share 320 tokens each."""
    rng = np.random.default_rng(seed)
    made = []
    for i, at_s in enumerate(np.cumsum(rng.exponential(1 / per_s, count)).tolist()):
        turns = tuple(
            ask(
                1_000_000 * seed + 10 * i + turn,
                int(rng.integers(1, 400)),
                int(rng.integers(1, 40)),
                at_s,
                gap_s,
            )
            for turn in range(int(rng.integers(1, 4)))
        )
        shared = Piece(7_000 + int(rng.integers(5)), 320)
        made.append(session(f"s{i}", *turns, context=[shared]))
    return made


def stragglers(count: int = 12) -> list[Session]:
    """Requests too small for a block, seconds apart: the fleet comes to rest."""
    return [session(f"late {i}", ask(9_000_000 + i, 5, 2, 2.0 * i)) for i in range(count)]


def offered(
    *stages: Iterable[Session],
    max_in_flight: int | None = None,
    max_sessions: int | None = None,
) -> Offered:
    """Stages named by their number."""
    made = [Stage(f"stage {i}", 0.0, iter(sessions)) for i, sessions in enumerate(stages)]
    return Offered(iter(made), max_in_flight, max_sessions)


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over."""

    simulation: Simulation
    outcome: Outcome

    @property
    def rows(self) -> Rows:
        """The requests, in the order in which they were sent."""
        return self.simulation.log.rows


def play(
    load: Offered,
    specs: Sequence[EngineSpec],
    policy: str | Policy = "least-requests",
    environment: Environment = REPORTED,
    storage: TierSpec | None = None,
    seed: int = 1,
    loras: Sequence[str] = (),
) -> Played:
    """Run a simulation to its end."""
    chosen = load_policy(policy) if isinstance(policy, str) else policy
    setup = Setup(tuple(specs), storage, chosen, environment, seed, tuple(loras))
    simulation = Simulation(setup, load)
    return Played(simulation, asyncio.run(simulation.run()))


def most_at_once(starts_s: Iterable[float], ends_s: Iterable[float]) -> int:
    """How many spans overlap at most; one that ends makes room for one that starts."""
    changes = sorted([(time_s, 1) for time_s in starts_s] + [(time_s, -1) for time_s in ends_s])
    return int(np.cumsum([change for _, change in changes]).max())


def hot_prefixes(seed: int, count: int = 150, per_s: float = 14.0) -> list[Session]:
    """Six groups share 2,000 tokens each, which take most of the time when they are not cached."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / per_s, count)).tolist()
    groups = rng.integers(6, size=count).tolist()
    return [
        session(f"{i}", ask(100 + i, 100, 16, at_s), context=[Piece(group, 2000)])
        for i, (at_s, group) in enumerate(zip(times, groups, strict=True))
    ]
