"""What Farsight raises, and the gRPC status each error becomes.

FarsightError
├── InvalidField      INVALID_ARGUMENT    a field of the request is bad
├── UnknownModel      NOT_FOUND           nobody serves the model
├── NoEndpoint        UNAVAILABLE         somebody should, but nobody can
├── NotReady          UNAVAILABLE         this replica has not learnt the fleet yet
├── Overloaded        RESOURCE_EXHAUSTED  a bound of ours is reached
├── BusUnavailable    UNAVAILABLE         NATS is away
├── EtcdUnavailable   UNAVAILABLE         etcd is away
├── BadRecord         (internal)          a record in etcd or on NATS does not parse
└── BadBundle         (internal)          a model bundle is refused
"""

from collections.abc import Sequence
from typing import ClassVar

import grpc


class FarsightError(Exception):
    """Base of every error that Farsight raises on purpose."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "internal"

    @property
    def field(self) -> str:
        """The request field at fault, empty when there is none."""
        return ""


class InvalidField(FarsightError):
    """A field of a request is bad."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "invalid-field"

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}")
        self._field = field
        self.expected = expected

    @property
    def field(self) -> str:
        """The request field at fault."""
        return self._field


class UnknownModel(FarsightError):
    """Nobody has ever served the model."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "unknown-model"

    def __init__(self, model: str, known: Sequence[str]) -> None:
        listed = ", ".join(sorted(known)) or "none"
        super().__init__(f"model: {model!r} is not served; known models: {listed}")
        self.model = model
        self.known = tuple(sorted(known))

    @property
    def field(self) -> str:
        """The request field at fault."""
        return "model"


class NoEndpoint(FarsightError):
    """The model is known and no endpoint can take the request now."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "no-endpoint"


class NotReady(FarsightError):
    """This replica has not learnt the fleet yet; another one may have."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "not-ready"


class Overloaded(FarsightError):
    """A bound that protects this process is reached; try again later."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "overloaded"


class BusUnavailable(FarsightError):
    """NATS did not take or answer a message."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "bus-unavailable"


class EtcdUnavailable(FarsightError):
    """etcd did not answer."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "etcd-unavailable"


class BadRecord(FarsightError):
    """A record from etcd or NATS does not parse or breaks a bound."""

    reason = "bad-record"


class BadBundle(FarsightError):
    """A model bundle is refused; `kind` is a label of a counter."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"bundle refused ({kind}): {detail}")
        self.kind = kind
        self.detail = detail
