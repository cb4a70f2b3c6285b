"""What was routed where, by this replica and by the others.

Two memories answer different questions: `ApproximateMemory` what an endpoint probably holds when
the index cannot say, `SpeculativePrompts` what it is about to hold before the index can know.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from farsight import subjects
from farsight.keys import Keys
from farsight.pb.events_pb2 import RoutedDelta
from services.router import metrics
from services.router.approximate import ApproximateMemory
from services.router.fleet import Fleet
from services.router.sharing import RoutedOutbox, decode_routed, keys_of
from services.router.speculative import Blocks, SpeculativePrompts


class RoutedPrompts:
    """Owns both memories of one replica and what it tells the others."""

    def __init__(
        self,
        router_id: str,
        fleet: Fleet,
        memory: ApproximateMemory,
        speculative: SpeculativePrompts,
    ) -> None:
        self._router_id = router_id
        self._own_subject = subjects.routed(router_id)
        self._fleet = fleet
        self._memory = memory
        self._speculative = speculative
        self._outbox = RoutedOutbox(router_id)

    def decided(self, decision_id: str, endpoint_id: str, keys: Keys, is_indexed: bool) -> None:
        """A decision sends a prompt to an endpoint.

        :param is_indexed: the index knows exactly that the endpoint holds all of it already.
        """
        fresh = self._memory.routed(endpoint_id, keys)
        if not is_indexed:
            self._speculative.add(endpoint_id, keys, decision_id)
        endpoint = self._fleet.endpoints.get(endpoint_id)
        if endpoint is not None and keys.size and (fresh or not is_indexed):
            self._outbox.add(endpoint_id, endpoint.epoch, keys)

    def begun(self, decision_id: str) -> None:
        """The engine has computed the prompt."""
        self._speculative.begun(decision_id)

    def withdrawn(self, decision_id: str) -> None:
        """The request ended before it was served."""
        self._speculative.withdraw(decision_id)

    def moved(self, decision_id: str, endpoint_id: str) -> None:
        """The request goes to another endpoint."""
        keys = self._speculative.withdraw(decision_id)
        if keys is not None:
            self.decided(decision_id, endpoint_id, keys, is_indexed=False)

    def failed(self, endpoint_id: str) -> None:
        """A request could not be served there: others on their way may not be either."""
        self._speculative.fail(endpoint_id)

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone."""
        self._memory.forget(endpoint_id)
        self._speculative.forget(endpoint_id)
        self._outbox.forget(endpoint_id)

    def remembered(self, keys: Keys, endpoint_ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Blocks of the longest prefix that went to each endpoint at some time."""
        return self._memory.match(keys, endpoint_ids)

    def on_their_way(
        self,
        keys: Keys,
        endpoint_ids: Sequence[str],
        indexed: Blocks,
        is_exact: npt.NDArray[np.bool_],
    ) -> Blocks:
        """Blocks that each endpoint holds or is about to hold; see `SpeculativePrompts.extend`."""
        return self._speculative.extend(keys, endpoint_ids, indexed, is_exact)

    def announcement(self, is_heard: bool) -> RoutedDelta | None:
        """What to tell the other replicas next; None when there is nothing, or none of them."""
        if not is_heard:
            self._outbox.clear()
        told = self._outbox.take()
        if told is not None:
            metrics.series(metrics.routed_prompts, "told").inc(len(told.prompts))
        return told

    def hear(self, subject: str, data: bytes) -> None:
        """Take what another replica told; prompts for endpoints without a record are left out.

        So are those for another life of an endpoint, of which one of us has not heard yet.
        """
        if subject == self._own_subject:
            return
        delta = decode_routed(data)
        if delta is None or delta.router_id == self._router_id:
            return
        for prompt in delta.prompts:
            endpoint = self._fleet.endpoints.get(prompt.endpoint_id)
            if endpoint is None or endpoint.epoch != prompt.epoch:
                why = "unknown-endpoint" if endpoint is None else "other-epoch"
                metrics.series(metrics.routed_prompts, why).inc()
                continue
            keys = keys_of(prompt)
            if keys is not None:
                self._memory.routed(prompt.endpoint_id, keys)
                self._speculative.add(prompt.endpoint_id, keys)
                metrics.series(metrics.routed_prompts, "heard").inc()
