"""Protobuf values that stand for a word or for nothing."""

from farsight.pb.types_pb2 import Confidence

UNKNOWN_AGE_MS = 2**32 - 1


def confidence_name(value: Confidence.ValueType) -> str:
    """EXACT, DEGRADED or APPROXIMATE; empty when it was not said."""
    if value == Confidence.CONFIDENCE_UNSPECIFIED or value not in Confidence.values():
        return ""
    return Confidence.Name(value).removeprefix("CONFIDENCE_")


def known_age_ms(age_ms: int) -> int | None:
    """An age in milliseconds, None when nothing was ever heard."""
    return None if age_ms >= UNKNOWN_AGE_MS else age_ms
