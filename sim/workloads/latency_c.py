"""Scenario C of the predicted-latency post: system prompts are evicted."""

from sim.lengths import Normal
from sim.multi_turn import MultiTurn
from sim.shared_prefix import Population
from sim.workload import Workload

WORKLOAD: Workload = MultiTurn(
    name="latency-c",
    description="conversations: 150 long system prompts that crowd the caches",
    population=Population("latency-c", groups=150, users_per_group=5, system_tokens=6000),
    question=Normal(1200, 360),
    output=Normal(1000, 300),
    ladder=(5, 10, 15, 20, 25, 30, 35, 40),
)
