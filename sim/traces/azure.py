"""Azure's traces: CSV with `TIMESTAMP,ContextTokens,GeneratedTokens`; sharing is not known."""

import csv
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from farsight.errors import InvalidField
from sim.arrivals import Times
from sim.lengths import UNBOUNDED, Counts

FIELDS = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]


@dataclass(frozen=True, slots=True, eq=False)
class AzureTrace:
    """Requests in the order of their time."""

    times_s: Times
    """Unix time."""
    input_tokens: Counts
    output_tokens: Counts


def read_azure(path: Path) -> AzureTrace:
    """The whole trace; raises InvalidField with the number of the first bad line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            times_s, inputs, outputs = _columns(lines)
    except OSError as error:
        raise InvalidField("trace", f"a readable file ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidField("trace", f"CSV in UTF-8 with {','.join(FIELDS)}") from error
    if not times_s:
        raise InvalidField("trace", "at least one request")
    order = np.argsort(np.array(times_s), kind="stable")
    return AzureTrace(
        np.array(times_s)[order], np.array(inputs)[order], np.maximum(np.array(outputs)[order], 1)
    )


def _columns(lines: Iterable[str]) -> tuple["array[float]", "array[int]", "array[int]"]:
    times_s, inputs, outputs = array("d"), array("q"), array("q")
    rows = csv.reader(lines)
    _check_header(next(rows, []))
    for row in rows:
        if not row:
            continue
        if len(row) != len(FIELDS):
            raise InvalidField(f"trace line {rows.line_num}", f"{','.join(FIELDS)}")
        times_s.append(_unix_s(rows.line_num, row[0]))
        inputs.append(_tokens(rows.line_num, FIELDS[1], row[1], 1))
        outputs.append(_tokens(rows.line_num, FIELDS[2], row[2], 0))
    return times_s, inputs, outputs


def _check_header(header: list[str]) -> None:
    for field in header:
        if field not in FIELDS:
            raise InvalidField(f"trace line 1, {field}", f"one of {', '.join(FIELDS)}")
    if header != FIELDS:
        raise InvalidField("trace line 1", ",".join(FIELDS))


def _unix_s(number: int, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "a time like 2023-11-16 18:15:46.680590"
        raise InvalidField(f"trace line {number}, {FIELDS[0]}", expected) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _tokens(number: int, field: str, text: str, least: int) -> int:
    # int() alone would take signs, blanks and underscores.
    if text.isascii() and text.isdigit() and least <= int(text) <= UNBOUNDED:
        return int(text)
    raise InvalidField(f"trace line {number}, {field}", f"tokens, a whole number from {least}")
