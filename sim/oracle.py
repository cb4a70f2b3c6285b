"""The upper bound: a router that sees every engine as it is and knows how long answers will be.

It sends a request where that costs the least over all (`sim.engine.cost`). An evicted block is as
likely to be wanted again as prompts have been found in caches so far. It still decides one request
at a time and does not know which come next, so a policy can beat it: by a percent or two in total
time, and by more in time to first token alone, which it trades for the time of all.
"""

from farsight.pb.router_pb2 import ReportEvent
from sim.deciding import Ask, Verdict
from sim.engine.cost import cost_s
from sim.engine.engines import Engines
from sim.pods import Pods


class Oracle:
    """Decides with the engines' true state."""

    def __init__(self, engines: Engines, pods: Pods) -> None:
        self._engines = engines
        self._pods = pods
        self._prompt_tokens = 1
        self._cached_tokens = 0

    async def decide(self, ask: Ask) -> Verdict | None:
        """The pod of the least cost."""
        alive = [p for p in range(len(self._pods)) if self._engines.is_alive(p)]
        if not alive:
            return None
        now_s, reuse = self._engines.reached_s, self._cached_tokens / self._prompt_tokens
        costs = [
            (
                *cost_s(
                    self._engines.state,
                    pod,
                    ask.keys,
                    ask.tokens.size,
                    ask.output_tokens,
                    now_s,
                    reuse,
                ),
                pod,
            )
            for pod in alive
        ]
        costs.sort()
        self._prompt_tokens += ask.tokens.size
        self._cached_tokens += int(costs[0][2])
        return Verdict(
            str(ask.number),
            tuple(pod for *_, pod in costs),
            tuple(int(cached) for _, _, cached, _ in costs),
            tuple(ttft_s * 1000 for _, ttft_s, _, _ in costs),
        )

    def report(self, number: int, event: ReportEvent) -> None:
        """It sees for itself."""
