"""Scenario A of the predicted-latency post: shared prefixes amortise."""

from sim.lengths import Normal
from sim.multi_turn import MultiTurn
from sim.shared_prefix import Population
from sim.workload import Workload

WORKLOAD: Workload = MultiTurn(
    name="latency-a",
    description="conversations: short questions on 6 shared prefixes, long answers",
    population=Population("latency-a", groups=6, users_per_group=1000, system_tokens=1000),
    question=Normal(30, 9),
    output=Normal(1000, 300),
    ladder=(5, 10, 15, 20, 30, 40, 50, 60),
)
