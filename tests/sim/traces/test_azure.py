"""Azure's traces."""

from pathlib import Path

import pytest

from farsight.errors import InvalidField
from sim.traces.azure import read_azure

EXCERPT = Path(__file__).parent / "data" / "azure_excerpt.csv"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
GOOD = "2023-11-16 18:15:46.6805900,374,44"


def written(folder: Path, *lines: str) -> Path:
    """A trace of some lines."""
    path = folder / "trace.csv"
    path.write_text("\n".join(lines))
    return path


def test_an_excerpt_of_the_public_trace_reads() -> None:
    """Lengths of all rows, times to the microsecond."""
    trace = read_azure(EXCERPT)

    assert trace.times_s.size == 40
    assert trace.input_tokens[:3].tolist() == [374, 396, 879]
    assert trace.output_tokens[:3].tolist() == [44, 109, 55]
    assert trace.times_s[1] - trace.times_s[0] == pytest.approx(4.314579, abs=2e-6)


def test_times_with_an_offset_and_without_one_are_the_same_time(tmp_path: Path) -> None:
    """Traces of 2024 write the offset; rows are put in order."""
    lines = [HEADER, "2024-05-10 02:00:01.5+02:00,2,2", "2024-05-10 00:00:00.25,1,0"]
    trace = read_azure(written(tmp_path, *lines))

    assert trace.times_s[1] - trace.times_s[0] == pytest.approx(1.25)
    assert trace.input_tokens.tolist() == [1, 2]
    assert trace.output_tokens.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("yesterday,1,1", ", TIMESTAMP", "a time like"),
        ("2023-11-16 18:15:46,0,1", ", ContextTokens", "a whole number from 1"),
        ("2023-11-16 18:15:46,1_0,1", ", ContextTokens", "a whole number from 1"),
        ("2023-11-16 18:15:46,1,-1", ", GeneratedTokens", "a whole number from 0"),
        ("2023-11-16 18:15:46,1,2.5", ", GeneratedTokens", "a whole number from 0"),
        ("2023-11-16 18:15:46,1", "", HEADER),
        ("2023-11-16 18:15:46,1,2,3", "", HEADER),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_field(
    tmp_path: Path, line: str, field: str, expected: str
) -> None:
    """And with what was expected."""
    with pytest.raises(InvalidField) as refused:
        read_azure(written(tmp_path, HEADER, GOOD, "", line))

    assert refused.value.field == f"trace line 4{field}"
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    ("header", "field", "expected"),
    [
        ("TIMESTAMP,ContextTokens,Tokens", "trace line 1, Tokens", "one of TIMESTAMP, ContextTok"),
        ("TIMESTAMP,ContextTokens", "trace line 1", HEADER),
        ("ContextTokens,TIMESTAMP,GeneratedTokens", "trace line 1", HEADER),
        ("", "trace line 1", HEADER),
    ],
)
def test_a_bad_header_is_reported(tmp_path: Path, header: str, field: str, expected: str) -> None:
    """An unknown field comes with the list of what exists."""
    with pytest.raises(InvalidField) as refused:
        read_azure(written(tmp_path, header, GOOD))

    assert refused.value.field == field
    assert expected in refused.value.expected


def test_a_trace_that_is_missing_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    """The error names the option."""
    with pytest.raises(InvalidField, match="trace: expected a readable file"):
        read_azure(tmp_path)
    with pytest.raises(InvalidField, match="trace: expected at least one request"):
        read_azure(written(tmp_path, HEADER))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidField, match="trace: expected CSV in UTF-8"):
        read_azure(tmp_path / "binary")
