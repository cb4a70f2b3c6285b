"""A control plane over engines, in a time that the test lets pass."""

from random import Random

import numpy as np

from farsight.keys import CANONICAL_BLOCK_TOKENS, chain
from sim.agenda import Agenda
from sim.clock import VirtualClock
from sim.control_plane import ControlPlane
from sim.deciding import Ask, Verdict
from sim.engine.engines import Engines
from sim.environment import Environment
from sim.pods import MODEL, Pods
from sim.policy import load_policy
from sim.tokens import Piece, tokens_of
from tests.sim.small_fleets import engine


class Wired:
    """Idle pods, routers, and nobody who asks them but the test."""

    def __init__(self, environment: Environment, pods: int = 2, policy: str = "random") -> None:
        specs = [engine()] * pods
        self.clock, self.agenda = VirtualClock(), Agenda()
        self.engines, self.pods = Engines(specs), Pods(specs, ())
        self.control = ControlPlane(
            load_policy(policy),
            self.engines,
            self.pods,
            environment,
            self.clock,
            self.agenda,
            Random(1),
        )
        self.control.start()

    async def pass_time(self, seconds: float) -> None:
        """Let everything happen that is due."""
        end_s = self.clock.now_s + seconds
        while self.agenda.next_s <= end_s:
            self.clock.now_s = self.agenda.next_s
            self.engines.advance(self.clock.now_s, False)
            if (waits := self.agenda.pop()()) is not None:
                await waits
        self.clock.now_s = end_s
        self.engines.advance(end_s, False)

    async def decide(self, number: int, seed: int = 1, tokens: int = 320) -> Verdict:
        """Ask the router whose turn request `number` is."""
        verdict = await self.control.decide(asked(number, seed, tokens))
        assert verdict is not None
        return verdict

    def occupy(self, pod: int, requests: int, output_tokens: int = 1000) -> None:
        """Give an engine work that no router knows of."""
        for i in range(requests):
            tokens = tokens_of([Piece(50 + i, 100 + output_tokens)])
            keys = chain(self.pods.seed(""), tokens, CANONICAL_BLOCK_TOKENS)
            self.engines.submit(pod, keys, 100, output_tokens, self.clock.now_s)

    def in_flight(self, router: int) -> list[float]:
        """Requests on each pod, as a router has them."""
        reservations = self.control.replicas[router].parts.reservations
        requests: list[float] = reservations.in_flight(self.pods.ids).requests.tolist()
        return requests


def asked(number: int, seed: int = 1, tokens: int = 320) -> Ask:
    """A request for a prompt of one piece."""
    prompt = tokens_of([Piece(seed, tokens)])
    nothing = np.empty(0, np.uint64)
    return Ask(number, MODEL, prompt, nothing, 8, "", None, None, 0)
