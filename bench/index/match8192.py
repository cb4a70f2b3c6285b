"""A match of an 8,192-block prompt that 1,000 endpoints hold to different depths."""

from bench.index import contenders, matching
from bench.index.processes import Cores
from bench.index.sizes import Sizes


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`match8192_1000_p50_ms`, and the index's."""
    given = matching.Given(
        sizes.many_background_blocks,
        sizes.many_endpoints,
        sizes.many_prompts,
        sizes.many_prompt_blocks,
    )
    makers = {
        **contenders.own_table(sizes.many_endpoints),
        **contenders.own_index(sizes.many_endpoints),
    }
    found = matching.measure(
        makers, given, cores.measured, sizes.many_matches, 2 * sizes.repetitions
    )
    return {f"{prefix}match8192_1000_p50_ms": p50 / 1000 for prefix, (p50, _) in found.items()}
