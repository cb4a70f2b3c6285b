"""The newest completed samples of one model."""

import numpy as np

from farsight.latency.features import DTYPE, FEATURE_COUNT
from farsight.latency.training_set import TrainingSet
from services.trainer.wire import Observation


class SampleWindow:
    """A ring of the newest `capacity` samples; each decision is in it once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._features = np.zeros((capacity, FEATURE_COUNT), DTYPE)
        self._ttft_ms = np.zeros(capacity)
        self._tpot_ms = np.zeros(capacity)
        self._decided_unix_ms = np.zeros(capacity, np.int64)
        self._ids: list[str] = [""] * capacity
        self._known: set[str] = set()
        self.added = 0
        self.accelerator = ""

    def __len__(self) -> int:
        return min(self.added, self._capacity)

    def add(self, sample: Observation) -> bool:
        """Take a sample in; False when it is known, or older than what a full window would drop."""
        slot = self.added % self._capacity
        is_full = self.added >= self._capacity
        if sample.decision_id in self._known:
            return False
        if is_full and sample.decided_unix_ms < self._decided_unix_ms[slot]:
            return False
        self._known.discard(self._ids[slot])
        self._known.add(sample.decision_id)
        self._ids[slot] = sample.decision_id
        self._features[slot] = sample.features
        self._ttft_ms[slot] = sample.ttft_ms
        self._tpot_ms[slot] = sample.tpot_ms
        self._decided_unix_ms[slot] = sample.decided_unix_ms
        self.added += 1
        self.accelerator = sample.accelerator
        return True

    def training_set(self) -> TrainingSet:
        """A copy of the samples in the order of their decisions."""
        order = np.argsort(self._decided_unix_ms[: len(self)], kind="stable")
        return TrainingSet(self._features[order], self._ttft_ms[order], self._tpot_ms[order])
