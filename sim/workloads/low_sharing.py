"""Low prefix sharing of the intelligent-scheduling post (2025-09-03).

The post reports a TTFT of 300 to 380 ms, an ITL of 25 to 50 ms and 0.65 ms a token. Assumed to fit
these: 5,000-token questions that share nothing but a system prompt of 100, and outputs of 100.
"""

from sim.lengths import Normal
from sim.shared_prefix import Population
from sim.single_turn import SingleTurn
from sim.workload import Workload

WORKLOAD: Workload = SingleTurn(
    name="low-sharing",
    description="long questions that share almost nothing",
    population=Population("low-sharing", groups=1, users_per_group=1, system_tokens=100),
    question=Normal(5000, 1500),
    output=Normal(100, 30),
)
