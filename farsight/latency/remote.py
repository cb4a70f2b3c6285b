"""The gRPC client of the predictor, behind a budget and a breaker."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farsight.guarded import GuardedPool
from farsight.latency.features import FeatureMatrix
from farsight.latency.predictions import Predictions
from farsight.latency.wire import decode_reply, encode_request
from farsight.pb.predictor_pb2 import PredictReply
from farsight.replicas import ReplicaPool

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
        self._predictors = GuardedPool(replicas, budget_s)

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer:
        """One prediction per row.

        :raises ReplicasAway: no predictor answered; `why` as GuardedPool gives it.
        """
        request = encode_request(model, matrix)

        def decode(reply: PredictReply) -> Answer:
            return Answer(reply.bundle_version, decode_reply(reply, len(matrix)))

        return await self._predictors.ask(lambda stub: stub.Predict(request), decode)
