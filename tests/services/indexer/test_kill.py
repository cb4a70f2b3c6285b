"""Kill -9 of the indexer while deltas flow."""

import pytest

from farsight.bus import Bus
from farsight.etcd import Etcd
from tests.services.indexer.kill import Sizes, killed

SIZES = Sizes(endpoints=16, blocks=200_000, blocks_per_s=10_000, before_s=1, after_s=1)


@pytest.mark.timeout(120)
async def test_a_killed_indexer_is_exact_again_and_never_wrong(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """Every EXACT answer, before and after, is what the endpoint held moments ago."""
    outcome = await killed(SIZES, etcd_url, nats_url)

    assert outcome.wrong == []
    assert outcome.exact_answers > 0
    assert outcome.exact_again_s > 0
