"""Scenario D of the predicted-latency post: requests are dominated by their own work."""

from sim.lengths import Normal
from sim.multi_turn import MultiTurn
from sim.shared_prefix import Population
from sim.workload import Workload

WORKLOAD: Workload = MultiTurn(
    name="latency-d",
    description="conversations: 6,200-token questions, little of it shared",
    population=Population("latency-d", groups=150, users_per_group=5, system_tokens=1000),
    question=Normal(6200, 1860),
    output=Normal(1000, 300),
    ladder=(5, 10, 15, 20, 25, 30),
)
