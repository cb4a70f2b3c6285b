"""High prefix sharing of the intelligent-scheduling post (2025-09-03).

The post reports about 60,000 tokens/s in all at 20 requests/s, hence 3,000 tokens a request, and
that routing by prefix alone has a fleet perform like a single pod, hence one prefix for all. How
the 3,000 tokens divide is assumed: 2,400 shared, a question of 300 and an output of 300.
"""

from sim.lengths import Normal
from sim.shared_prefix import Population
from sim.single_turn import SingleTurn
from sim.workload import Workload

WORKLOAD: Workload = SingleTurn(
    name="high-sharing",
    description="one system prompt shared by all, short questions",
    population=Population("high-sharing", groups=1, users_per_group=1, system_tokens=2400),
    question=Normal(300, 90),
    output=Normal(300, 90),
)
