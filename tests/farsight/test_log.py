"""Log lines for machines and for people."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from farsight import log


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger is as it was after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """JSON lines on standard error."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Event, fields and origin; line breaks and foreign types do not break it."""
    log.setup("router", "router-1", "info", "json")

    log.get_logger("farsight.example").warning(
        "endpoint joined", extra={"endpoint": "a\nb", "keys": {1}, "why": ValueError("x")}
    )

    (line,) = lines(capsys)
    assert line["event"] == "endpoint joined"
    assert (line["service"], line["replica"], line["level"]) == ("router", "router-1", "warning")
    assert (line["endpoint"], line["keys"], line["why"]) == ("a\nb", "{1}", "x")
    assert "request_id" not in line


def test_the_request_id_is_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Bound once per call, without passing it around."""
    log.setup("router", "router-1", "info", "json")
    token = log.request_id.set("r-1")
    try:
        log.get_logger("x").info("routed")
    finally:
        log.request_id.reset(token)
    log.get_logger("x").info("idle")

    assert [line.get("request_id") for line in lines(capsys)] == ["r-1", None]


def test_exceptions_stay_on_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback is a field."""
    log.setup("router", "router-1", "info", "json")
    try:
        raise KeyError("missing")
    except KeyError:
        log.get_logger("x").exception("crashed")

    (line,) = lines(capsys)
    assert "KeyError: 'missing'" in str(line["exception"])


def test_the_level_is_kept_and_noisy_libraries_are_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`debug` is for our own lines."""
    log.setup("router", "router-1", "debug", "json")

    log.get_logger("farsight.x").debug("ours")
    log.get_logger("nats").info("theirs")

    assert [line["event"] for line in lines(capsys)] == ["ours"]
    log.setup("router", "router-1", "error", "json")
    log.get_logger("farsight.x").warning("not worth it")
    assert lines(capsys) == []


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, event, fields; a traceback below."""
    log.setup("router", "router-1", "info", "text")
    try:
        raise KeyError("missing")
    except KeyError:
        log.get_logger("x").error("refused", extra={"field": "model"}, exc_info=sys.exc_info())

    first, *traceback = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR   refused field=model")
    assert traceback[-1] == "KeyError: 'missing'"
