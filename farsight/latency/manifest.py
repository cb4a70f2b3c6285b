"""What a bundle says of itself: its manifest.json."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from farsight.errors import BadBundle, InvalidField
from farsight.latency.analytic import AnalyticRates
from farsight.latency.conformal import Offsets
from farsight.latency.features import SCHEMA_HASH
from farsight.latency.fitted import MAX_LOG_RATIO
from farsight.latency.scores import Scores
from farsight.latency.wire import check_rates

FORMAT_VERSION = 1
MAX_MODEL_NAME = 256


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a bundle comes from, and all of it that is not ONNX."""

    format_version: int
    model: Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_NAME)]
    """Served model name."""
    version: Annotated[int, Meta(ge=1)]
    schema_hash: str
    trained_unix_ms: Annotated[int, Meta(ge=0)]
    sample_count: Annotated[int, Meta(ge=0)]
    rates: AnalyticRates
    ttft_offsets: Offsets
    tpot_offsets: Offsets
    holdout: Scores
    """On the newest samples, before those took part in the calibration."""


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON for people and machines."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decode_manifest(data: bytes) -> Manifest:
    """Parse and check a manifest.

    :raises BadBundle: `format` or `schema`.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        check_rates(manifest.rates)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidField) as error:
        raise BadBundle("format", f"manifest.json: {error}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BadBundle("format", f"version {manifest.format_version}, expected {FORMAT_VERSION}")
    if manifest.schema_hash != SCHEMA_HASH:
        raise BadBundle("schema", f"{manifest.schema_hash[:64]!r}, expected {SCHEMA_HASH}")
    for offsets in (manifest.ttft_offsets, manifest.tpot_offsets):
        if not -2 * MAX_LOG_RATIO <= offsets.q50 <= offsets.q90 <= 2 * MAX_LOG_RATIO:
            raise BadBundle("format", f"offsets {offsets}")
    return manifest
