"""gRPC statuses of a router back to the errors that it raised."""

import grpc
import grpc.aio

from farsight.errors import (
    FarsightError,
    InvalidField,
    NoEndpoint,
    NotReady,
    Overloaded,
    UnknownModel,
)
from farsight.server import FIELD_KEY, REASON_KEY

# What a replica that is gone, hung or shutting down answers with.
_MOVE_ON = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def error_of(status: grpc.aio.AioRpcError, model: str) -> FarsightError | None:
    """The error that a router raised for a request for `model`.

    None when the replica is at fault and another one may well answer.
    """
    trailing = {key: value for key, value in status.trailing_metadata() or () if value}
    reason, field = str(trailing.get(REASON_KEY, "")), str(trailing.get(FIELD_KEY, ""))
    text = status.details() or status.code().name
    match status.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidField(field or "request", text.partition(": expected ")[2] or text)
        case grpc.StatusCode.NOT_FOUND:
            return UnknownModel(model, _listed(text))
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(text)
        case grpc.StatusCode.UNAVAILABLE if reason == NoEndpoint.reason:
            return NoEndpoint(text)
        case code if code in _MOVE_ON:
            return None
        case code:
            return FarsightError(f"router answered {code.name}: {text}")


def not_ready_text(status: grpc.aio.AioRpcError) -> str:
    """What a replica that knows no endpoint yet says; empty for every other status."""
    trailing = dict(status.trailing_metadata() or ())
    return (status.details() or "") if trailing.get(REASON_KEY) == NotReady.reason else ""


def _listed(text: str) -> list[str]:
    """The known models that the text of an UnknownModel ends with."""
    known = text.partition("known models: ")[2]
    return [] if known in ("", "none") else known.split(", ")
