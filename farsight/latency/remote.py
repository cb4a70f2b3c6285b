"""The gRPC client of the predictor, behind a budget and a breaker."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farsight.breaker import Breaker
from farsight.errors import InvalidField
from farsight.latency.features import FeatureMatrix
from farsight.latency.predictions import Predictions
from farsight.latency.wire import decode_reply, encode_request
from farsight.replicas import ReplicaPool, ReplicasAway

if TYPE_CHECKING:
    from farsight.pb.predictor_pb2_grpc import PredictorAsyncStub


@dataclass(frozen=True, slots=True)
class Answer:
    """Predictions and the bundle they come from."""

    bundle_version: int
    predictions: Predictions


class RemotePredictor:
    """Asks the predictor replicas that a pool knows."""

    def __init__(self, replicas: "ReplicaPool[PredictorAsyncStub]", budget_s: float) -> None:
        self._replicas = replicas
        self._budget_s = budget_s
        self._breaker = Breaker()

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer:
        """One prediction per row.

        :raises ReplicasAway: none answered within the budget; `why` is `breaker` while it is open.
        """
        if not self._breaker.allows(time.monotonic()):
            raise ReplicasAway("breaker")
        request = encode_request(model, matrix)
        try:
            reply = await self._replicas.call(lambda stub: stub.Predict(request), self._budget_s)
            answer = Answer(reply.bundle_version, decode_reply(reply, len(matrix)))
        except InvalidField as error:
            self._breaker.failed(time.monotonic())
            raise ReplicasAway("bad-reply") from error
        except ReplicasAway:
            self._breaker.failed(time.monotonic())
            raise
        self._breaker.succeeded()
        return answer
