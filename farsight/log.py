"""Structured logs: one JSON object a line, or plain text for people."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal

LogFormat = Literal["json", "text"]

request_id: ContextVar[str] = ContextVar("request_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def get_logger(name: str) -> logging.Logger:
    """The logger of a module."""
    return logging.getLogger(name)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
    if bound := request_id.get():
        fields.setdefault("request_id", bound)
    return fields


class JsonFormatter(logging.Formatter):
    """Event name and fields as one JSON object."""

    def __init__(self, service: str, replica_id: str) -> None:
        super().__init__()
        self._origin = {"service": service, "replica": replica_id}

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, Any] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            **self._origin,
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of text, a traceback below it."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{k}={v}" for k, v in _fields(record).items())
        millis = int(record.msecs)
        line = f"{clock}.{millis:03d} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def setup(service: str, replica_id: str, level: str, log_format: LogFormat) -> None:
    """Send the root logger to stderr in the chosen format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(service, replica_id) if log_format == "json" else TextFormatter()
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("aetcd", "nats", "asyncio", "numba"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
