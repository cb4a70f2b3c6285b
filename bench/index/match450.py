"""A match of a 450-block prompt that 64 endpoints hold to different depths, among 5 M blocks.

`match450_` is the table alone, `index_match450_` `KvIndex.match` around it, which adds the standing
of each endpoint.
"""

from bench.index import contenders, matching
from bench.index.processes import Cores
from bench.index.sizes import Sizes


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`match450_p50_us`, `match450_p99_us`, and those of index and peers."""
    given = matching.Given(
        sizes.distinct_blocks, sizes.endpoints, sizes.prompts, sizes.prompt_blocks
    )
    makers = {
        **contenders.own_table(sizes.endpoints),
        **contenders.own_index(sizes.endpoints),
        **contenders.peers(sizes.endpoints),
    }
    found = matching.measure(makers, given, cores.measured, sizes.matches, 2 * sizes.repetitions)
    return {
        f"{prefix}match450_{which}_us": value
        for prefix, (p50, p99) in found.items()
        for which, value in (("p50", p50), ("p99", p99))
    }
