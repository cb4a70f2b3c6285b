"""NATS subjects, buckets and streams, and how names are escaped for them."""

from collections.abc import Mapping
from urllib.parse import quote

DELTA_ALL = "farsight.kv.delta.*"
LOAD_ALL = "farsight.load.*"
INFLIGHT_ALL = "farsight.inflight.*"
SAMPLE_ALL = "farsight.sample.*"
DOUBT_ALL = "farsight.kv.doubt.*"
ROUTED_ALL = "farsight.routed.*"

KV_BUCKET = "farsight-kv"
MIRROR_BUCKET = "farsight-mirrors"
BUNDLE_BUCKET = "farsight-bundles"
SAMPLE_STREAM = "FARSIGHT_SAMPLES"

# Objects in these buckets go by themselves: of endpoints that are gone nobody deletes them.
OBJECT_TTL_S: Mapping[str, float] = {KV_BUCKET: 3600.0, MIRROR_BUCKET: 3600.0}


def token(text: str) -> str:
    """Escape any text to one NATS subject token, which is also one etcd path element.

    Percent-encoding with `=` for `%`; dots are escaped too. Different texts stay different.
    """
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")


def delta(endpoint_id: str) -> str:
    """KvDelta messages of one endpoint."""
    return f"farsight.kv.delta.{token(endpoint_id)}"


def snapshot(endpoint_id: str) -> str:
    """Request subject on which an endpoint's sidecar answers with a snapshot."""
    return f"farsight.kv.snapshot.{token(endpoint_id)}"


def doubt(endpoint_id: str) -> str:
    """KvDoubt messages about one endpoint."""
    return f"farsight.kv.doubt.{token(endpoint_id)}"


def routed(router_id: str) -> str:
    """RoutedDelta messages of one router replica."""
    return f"farsight.routed.{token(router_id)}"


def load(endpoint_id: str) -> str:
    """Load messages of one endpoint."""
    return f"farsight.load.{token(endpoint_id)}"


def inflight(router_id: str) -> str:
    """InFlightDelta messages of one router replica."""
    return f"farsight.inflight.{token(router_id)}"


def sample(model: str) -> str:
    """Sample messages of one model."""
    return f"farsight.sample.{token(model)}"
