"""What an engine answers to a request that it does not serve.

FarsightError
└── Refused    400 and 404, in vLLM's JSON form
"""

import msgspec

from farsight.errors import FarsightError


class Refused(FarsightError):
    """The request is at fault; `kind` is the type that vLLM gives such an error."""

    reason = "refused"

    def __init__(
        self, message: str, param: str | None = None, *, status: int = 400, kind: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self._body = {
            "message": message,
            "type": kind or "BadRequestError",
            "param": param,
            "code": status,
        }

    def body(self) -> bytes:
        """The JSON of the answer."""
        return msgspec.json.encode({"error": self._body})


def malformed(message: str, param: str | None) -> Refused:
    """The body has another shape than the API's."""
    return Refused(message, param, kind="Bad Request")


def unknown_model(model: str, served: str) -> Refused:
    """Neither the model nor an adapter has the name."""
    message = f"The model `{model}` does not exist. Valid aliases: {served}."
    return Refused(message, "model", status=404, kind="NotFoundError")
