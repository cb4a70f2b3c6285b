"""Routers' doubts about an endpoint's blocks: each may force a new snapshot, but seldom."""

import math
from collections.abc import Callable

from google.protobuf.message import DecodeError

from farsight import metrics, subjects
from farsight.discovery import ENDPOINT_ID
from farsight.errors import InvalidField
from farsight.index.state import KvIndex
from farsight.log import get_logger
from farsight.pb.events_pb2 import KvDoubt

log = get_logger(__name__)

MAX_DOUBT_BYTES = 4096
DOUBT_INTERVAL_S = 30.0

doubts_total = metrics.counter(
    "farsight_index_doubts", "Routers' doubts about endpoints, by what became of them", ("result",)
)


class Doubts:
    """Passes doubts on to the index, each endpoint's at most once in `DOUBT_INTERVAL_S`.

    :param holds: says whether this replica holds an endpoint.
    """

    def __init__(
        self, index: KvIndex, holds: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._holds = holds
        self._clock = clock
        self._next_s: dict[str, float] = {}

    def on_doubt(self, subject: str, data: bytes) -> None:
        """Take one message; a bad one is counted and left out."""
        try:
            doubts_total.labels(self._take(subject, data)).inc()
        except (DecodeError, InvalidField) as error:
            doubts_total.labels("refused").inc()
            log.warning("doubt refused", extra={"subject": subject, "error": str(error)})

    def _take(self, subject: str, data: bytes) -> str:
        if len(data) > MAX_DOUBT_BYTES:
            raise InvalidField("doubt", f"at most {MAX_DOUBT_BYTES} bytes")
        doubt = KvDoubt.FromString(data)
        if not ENDPOINT_ID.fullmatch(doubt.endpoint_id):
            raise InvalidField("endpoint_id", ENDPOINT_ID.pattern)
        if subject != subjects.doubt(doubt.endpoint_id):
            raise InvalidField("endpoint_id", f"the one of subject {subject}")
        if not math.isfinite(doubt.mean_error_tokens):
            raise InvalidField("mean_error_tokens", "a finite number")
        if not self._holds(doubt.endpoint_id):
            return "not-held"
        now_s = self._clock()
        self._next_s = {e: s for e, s in self._next_s.items() if s > now_s}
        if doubt.endpoint_id in self._next_s:
            return "limited"
        self._index.doubt(doubt.endpoint_id, doubt.epoch)
        if not self._index.wants_fresh(doubt.endpoint_id):
            return "stale"  # of an earlier life
        self._next_s[doubt.endpoint_id] = now_s + DOUBT_INTERVAL_S
        log.info(
            "endpoint doubted",
            extra={
                "endpoint": doubt.endpoint_id,
                "router": doubt.router_id[:128],
                "mean_error_tokens": doubt.mean_error_tokens,
            },
        )
        return "taken"
