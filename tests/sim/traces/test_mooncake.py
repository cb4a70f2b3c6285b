"""Mooncake's traces."""

import json
from pathlib import Path

import numpy as np
import pytest

from farsight.errors import InvalidField
from sim.traces.mooncake import read_mooncake

EXCERPT = Path(__file__).parent / "data" / "mooncake_excerpt.jsonl"
GOOD = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]}


def written(folder: Path, *rows: object) -> Path:
    """A trace of some rows."""
    path = folder / "trace.jsonl"
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return path


def test_an_excerpt_of_the_public_trace_reads() -> None:
    """Every prompt is as long as its line says."""
    rows = [json.loads(line) for line in EXCERPT.read_text().splitlines()]
    trace = read_mooncake(EXCERPT)
    lengths = [sum(piece.length_tokens for piece in prompt) for prompt in trace.prompts()]

    assert lengths == [row["input_length"] for row in rows]
    assert trace.output_tokens.tolist() == [row["output_length"] for row in rows]
    assert trace.ticks_s.tolist() == [row["timestamp"] / 1000 for row in rows]


def test_equal_ids_are_equal_blocks_of_512_tokens(tmp_path: Path) -> None:
    """The last block has what is left of the input."""
    trace = read_mooncake(written(tmp_path, GOOD, {**GOOD, "hash_ids": [1, 3]}))
    first, second = trace.prompts()

    assert first[0] == second[0]
    assert first[1].seed != second[1].seed
    assert [piece.length_tokens for piece in first] == [512, 188]


def test_a_full_last_block_is_whole(tmp_path: Path) -> None:
    """1,024 tokens are two blocks of 512."""
    (prompt,) = read_mooncake(written(tmp_path, {**GOOD, "input_length": 1024})).prompts()

    assert [piece.length_tokens for piece in prompt] == [512, 512]


def test_rows_are_put_in_the_order_of_their_time(tmp_path: Path) -> None:
    """Their ids come along; equal times keep the order of the file."""
    rows = [
        {"timestamp": ms, "input_length": tokens, "output_length": 1, "hash_ids": ids}
        for ms, tokens, ids in [(9, 600, [7, 8]), (3, 10, [1]), (3, 20, [2]), (0, 30, [3])]
    ]
    trace = read_mooncake(written(tmp_path, *rows))

    assert trace.input_tokens.tolist() == [30, 10, 20, 600]
    assert trace.hash_ids.tolist() == [3, 1, 2, 7, 8]
    assert trace.ends.tolist() == [1, 2, 3, 5]


def test_an_answer_of_no_tokens_becomes_one_token(tmp_path: Path) -> None:
    """An engine gives at least one."""
    trace = read_mooncake(written(tmp_path, {**GOOD, "output_length": 0}))

    assert trace.output_tokens.tolist() == [1]


def test_requests_of_equal_time_are_spread_inside_their_tick(tmp_path: Path) -> None:
    """In the order of the file, at most until the next time and at most over 3 s."""
    rows = [{**GOOD, "timestamp": ms} for ms in [0] * 50 + [2000] * 50 + [9000] * 50 + [20_000]]
    trace = read_mooncake(written(tmp_path, *rows))
    times_s = trace.spread_times(np.random.default_rng(1))

    assert np.all(np.diff(times_s) >= 0)
    assert np.all((times_s[:50] >= 0) & (times_s[:50] < 2))
    assert np.all((times_s[50:100] >= 2) & (times_s[50:100] < 5))
    assert np.all((times_s[100:150] >= 9) & (times_s[100:150] < 12))
    assert len(set(times_s.tolist())) == 151
    assert times_s[-1] == 20
    assert times_s[:50].max() > 1.5
    assert np.array_equal(times_s, trace.spread_times(np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("row", "field", "expected"),
    [
        ({**GOOD, "model": "m"}, ", model", "one of timestamp, input_length, output_length, hash"),
        ({"timestamp": 0, "input_length": 3, "output_length": 1}, ", hash_ids", "a list"),
        ({**GOOD, "timestamp": "0"}, ", timestamp", "milliseconds"),
        ({**GOOD, "timestamp": -1}, ", timestamp", "milliseconds"),
        ({**GOOD, "input_length": 0}, ", input_length", "whole number from 1"),
        ({**GOOD, "input_length": 1.5}, ", input_length", "whole number from 1"),
        ({**GOOD, "output_length": None}, ", output_length", "whole number from 0"),
        ({**GOOD, "hash_ids": [1, -2]}, ", hash_ids", "a list of whole numbers from 0"),
        ({**GOOD, "hash_ids": [1, 2**63]}, ", hash_ids", "a list of whole numbers from 0"),
        ({**GOOD, "hash_ids": [1]}, ", hash_ids", "2 ids, one for each 512 tokens"),
        ([1, 2], "", "a JSON object with timestamp"),
        ('{"timestamp": 0,', "", "a JSON object with timestamp"),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_field(
    tmp_path: Path, row: object, field: str, expected: str
) -> None:
    """And with what was expected."""
    with pytest.raises(InvalidField) as refused:
        read_mooncake(written(tmp_path, GOOD, "", row))

    assert refused.value.field == f"trace line 3{field}"
    assert expected in refused.value.expected


def test_a_trace_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    """The error names the option."""
    with pytest.raises(InvalidField, match=r"trace: expected a readable file \(No such file"):
        read_mooncake(tmp_path / "none")
    with pytest.raises(InvalidField, match="trace: expected at least one request"):
        read_mooncake(written(tmp_path))
