"""One replica's view of itself."""

from dataclasses import replace

import numpy as np

from farsight.latency.features import FEATURE_COUNT
from services.router.audit import WINDOW_REQUESTS
from services.router.status import router_status
from tests.services.router.given import opened, parts, record


def test_an_endpoint_whose_predictions_drift_says_by_how_much() -> None:
    """Predicted minus actual cached tokens; the others say 0."""
    made = parts(record("e0"), record("e1"))
    decision = replace(
        opened(),
        matrix=np.zeros((2, FEATURE_COUNT), np.float32),
        cached_tokens=(640, 0),
        indexed_tokens=(640, 0),
    )
    for _ in range(WINDOW_REQUESTS):
        made.audit.take(decision, 0, 0, 16, 1)

    seen = router_status("r1", made, 0).endpoints

    assert [(e.endpoint_id, e.cached_drift_tokens) for e in seen] == [("e0", 640), ("e1", 0)]
