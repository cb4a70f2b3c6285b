"""Scenario B of the predicted-latency post: the users' context grows."""

from sim.lengths import Normal
from sim.multi_turn import MultiTurn
from sim.shared_prefix import Population
from sim.workload import Workload

WORKLOAD: Workload = MultiTurn(
    name="latency-b",
    description="conversations: 3,000-token questions on 6 shared prefixes",
    population=Population("latency-b", groups=6, users_per_group=1000, system_tokens=1000),
    question=Normal(3000, 900),
    output=Normal(1000, 300),
    ladder=(5, 10, 15, 20, 25, 30, 35, 40),
)
