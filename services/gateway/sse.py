"""What the gateway has to know of an engine's event stream, without parsing every event."""

import re
from typing import Any

import msgspec

from services.gateway.usage import USAGE_KEY, Usage, usage_of

MAX_EVENT_BYTES = 1 << 20
_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
_ERROR_KEY = b'"error"'
_ERROR = re.compile(rb'\{\s*"error"\s*:')


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: dict[str, Any] | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


class _ErrorDetail(msgspec.Struct):
    code: int | str | None = None


class _ErrorEvent(msgspec.Struct):
    error: _ErrorDetail


class SseReader:
    """Cuts a byte stream into whole events and finds the first token, the usage and an error.

    Events are parsed until the first token; after it only those with a usage or an error.
    """

    def __init__(self, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._pending = bytearray()
        self._usage_event = b""
        self.has_token = False
        self.server_error = False

    @property
    def usage(self) -> Usage | None:
        """Token counts as the engine gave them; the last ones when it gave several."""
        return usage_of(self._usage_event)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of any cut; returns the events to pass on, whole ones."""
        searched = max(0, len(self._pending) - 3)
        self._pending += data
        cut = max(
            self._pending.rfind(b"\n\n", searched) + 2, self._pending.rfind(b"\n\r\n", searched) + 3
        )
        if cut <= 2:
            return self.end() if len(self._pending) > MAX_EVENT_BYTES else b""
        block = bytes(self._pending[:cut])
        del self._pending[:cut]
        if self.has_token and USAGE_KEY not in block and _ERROR_KEY not in block:
            return block
        return b"".join(event for event in _EVENT.findall(block) if self._passes(event))

    def end(self) -> bytes:
        """What is left when the stream ends in the middle of an event."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest

    def _passes(self, event: bytes) -> bool:
        """Note what the event tells; False for the usage event that the client did not want."""
        payload = _payload(event)
        if USAGE_KEY in payload:
            self._usage_event = payload
            if self._hide_usage and _NO_CHOICES.search(payload):
                return False
        if _ERROR.match(payload):
            self.server_error = _is_server_error(payload)
        elif not self.has_token:
            self.has_token = _has_token(payload)
        return True


def _payload(event: bytes) -> bytes:
    """The data of an event; empty for comments."""
    for line in event.splitlines():
        if line.startswith(b"data:"):
            return line[5:].strip()
    return b""


def _has_token(payload: bytes) -> bool:
    """The event stands for a token: it does more than announce the role of the answer."""
    try:
        choices = msgspec.json.decode(payload, type=_Chunk).choices
    except msgspec.DecodeError:
        return False
    return any(
        choice.text is not None or (choice.delta is not None and _is_content(choice.delta))
        for choice in choices
    )


def _is_content(delta: dict[str, Any]) -> bool:
    return "role" not in delta or any(value for key, value in delta.items() if key != "role")


def _is_server_error(payload: bytes) -> bool:
    """False when the engine says that the request is at fault."""
    try:
        code = msgspec.json.decode(payload, type=_ErrorEvent).error.code
    except msgspec.DecodeError:
        return True
    return not (isinstance(code, int) and 400 <= code < 500)
