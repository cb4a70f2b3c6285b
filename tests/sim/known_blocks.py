"""What the engines hold beside what a router's index says that they hold."""

from collections.abc import Mapping

from sim.engine.engines import Engines
from sim.engine.layout import DEVICE, HOST, STORAGE
from sim.replica import Replica
from tests.farsight.index.loading import finish

Held = Mapping[int, frozenset[int]]


def held(engines: Engines, pod: int) -> Held:
    """Keys of a pod by tier, as the engine has them."""
    spec, count = engines.specs[pod], len(engines)
    pools = {DEVICE: pod}
    if spec.host:
        pools[HOST] = count + pod
    if spec.mounts_storage and len(engines.state.pools) > 2 * count:
        pools[STORAGE] = 2 * count
    return {
        tier: frozenset(engines.held_keys(pools[tier]).tolist() if tier in pools else ())
        for tier in (DEVICE, HOST, STORAGE)
    }


def known(replica: Replica, endpoint_id: str) -> Held:
    """The same, as a router's index has it."""
    replica.index.check_integrity()
    parts = finish(replica.index.dump(endpoint_id)).parts
    return {tier: frozenset(keys.tolist()) for tier, group, keys in parts if group == 0}
