"""The upper bound: it sees what no router can, and is hard to beat."""

import numpy as np
import pytest

from farsight.keys import CANONICAL_BLOCK_TOKENS, chain
from sim.deciding import Ask, Verdict
from sim.engine.engines import Engines
from sim.engine.spec import EngineSpec
from sim.oracle import Oracle
from sim.pods import MODEL, Pods
from sim.tokens import Piece, tokens_of
from tests.sim.small_fleets import HOST, Played, engine, hot_prefixes, offered, play


class Fleet:
    """Engines that the test puts to work, and an oracle that looks at them."""

    def __init__(self, *specs: EngineSpec) -> None:
        self.engines = Engines(specs)
        self.pods = Pods(specs, ())
        self.oracle = Oracle(self.engines, self.pods)

    def submit(self, pod: int, seed: int, tokens: int, output_tokens: int) -> None:
        """Give a pod a request."""
        now_s = self.engines.reached_s
        self.engines.submit(pod, keys_of(self.pods, seed, tokens, output_tokens), tokens,
                            output_tokens, now_s)  # fmt: skip

    def pass_time(self, seconds: float) -> None:
        """Let the engines work."""
        self.engines.advance(self.engines.reached_s + seconds, False)

    async def decide(self, seed: int = 99, tokens: int = 400, output_tokens: int = 20) -> Verdict:
        """Where the oracle sends a request."""
        keys = keys_of(self.pods, seed, tokens, output_tokens)
        prompt = tokens_of([Piece(seed, tokens)])
        wanted = Ask(0, MODEL, prompt, keys, output_tokens, "", None, None, 0)
        verdict = await self.oracle.decide(wanted)
        assert verdict is not None
        return verdict


def keys_of(pods: Pods, seed: int, tokens: int, output_tokens: int) -> np.ndarray:
    """Keys of a prompt of one piece and its answer."""
    whole = tokens_of([Piece(seed, tokens), Piece(1 << 40, output_tokens)])
    return chain(pods.seed(""), whole, CANONICAL_BLOCK_TOKENS)


async def test_an_idle_pod_goes_before_a_busy_one() -> None:
    """It need not be told: it sees requests that run and requests that wait."""
    for tokens, output_tokens in ((3000, 1), (50, 300)):
        fleet = Fleet(engine(), engine())
        for seed in range(2):
            fleet.submit(0, seed, tokens, output_tokens)
        fleet.pass_time(0.02)

        verdict = await fleet.decide()

        assert verdict.pods == (1, 0)
        assert verdict.ttft_q50_ms[0] < verdict.ttft_q50_ms[1]


async def test_a_pod_with_a_short_queue_goes_before_one_with_a_long_one() -> None:
    """Also when both wait for room in their caches."""
    fleet = Fleet(*[engine(1600)] * 3)
    for pod, count in enumerate((6, 2, 4)):
        for seed in range(count):
            fleet.submit(pod, 10 * pod + seed, 1000, 100)
    fleet.pass_time(0.2)

    assert (await fleet.decide()).pods == (1, 2, 0)


async def test_a_warm_pod_goes_before_a_cold_one() -> None:
    """On whatever tier the prompt lies; and it says how much of it is there."""
    fleet = Fleet(engine(), engine(700, host=HOST), engine())
    for pod, seed in ((1, 99), (1, 1), (1, 2), (0, 3)):
        fleet.submit(pod, seed, 400, 20)
        fleet.pass_time(5.0)

    verdict = await fleet.decide()

    assert verdict.pods[0] == 1
    assert verdict.cached_tokens[0] == 384
    assert verdict.cached_tokens[1:] == (0, 0)


async def test_a_warm_pod_with_a_long_queue_goes_behind_a_cold_one() -> None:
    """Affinity has a price."""
    fleet = Fleet(engine(), engine())
    fleet.submit(0, 99, 400, 20)
    fleet.pass_time(5.0)
    for seed in range(5):
        fleet.submit(0, seed, 1500, 20)
    fleet.pass_time(0.01)

    verdict = await fleet.decide()

    assert verdict.pods == (1, 0)
    assert verdict.cached_tokens == (0, 384)


async def test_a_fast_pod_goes_before_a_slow_one() -> None:
    """Slow by its hardware, or for the moment."""
    by_nature = Fleet(engine(slowness=3), engine())
    for_now = Fleet(engine(), engine())
    for_now.engines.slow_down(0, 3.0)

    assert (await by_nature.decide()).pods == (1, 0)
    assert (await for_now.decide()).pods == (1, 0)


async def test_its_prediction_comes_true_on_an_idle_fleet() -> None:
    """It knows the engines' own rates."""
    fleet = Fleet(engine())
    predicted = await fleet.decide(99, 1000, 20)

    fleet.submit(0, 99, 1000, 20)
    fleet.engines.advance(100.0)
    (first,) = fleet.engines.take_events()

    assert predicted.ttft_q50_ms[0] == pytest.approx(first.time_s * 1000, rel=1e-6)


async def test_without_a_living_pod_there_is_no_verdict() -> None:
    """A dead one is never chosen."""
    fleet = Fleet(engine(), engine())
    fleet.engines.kill(1)
    one = await fleet.decide()
    fleet.engines.kill(0)
    wanted = Ask(0, MODEL, tokens_of([Piece(1, 20)]), np.empty(0, np.uint64), 1, "", None,
                 None, 0)  # fmt: skip

    assert one.pods == (0,)
    assert await fleet.oracle.decide(wanted) is None


def mean_ttft_s(played: Played) -> float:
    """Over all requests."""
    found = played.outcome.overall.ttft.mean_s
    assert found is not None
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_who_guesses_beats_the_oracle_under_overload(seed: int) -> None:
    """On prompts that return, more than one cache can hold and faster than all can serve."""
    specs = [engine(6000)] * 3
    ttft_s = {
        policy: mean_ttft_s(play(offered(hot_prefixes(seed)), specs, policy, seed=seed))
        for policy in ("oracle", "random", "round-robin", "least-requests")
    }

    bound_s = ttft_s.pop("oracle")
    assert bound_s < 0.7 * min(ttft_s.values()), ttft_s
