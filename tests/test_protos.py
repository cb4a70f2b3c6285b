"""The wire format never changes under a fleet of mixed versions.

`tests/proto_fields.txt` holds every field and enum value that was ever released. After adding some:
`python -m tests.proto_fields` writes them down; lines are only added, never changed.
"""

import re

from tests.proto_fields import GOLDEN, fields_now, read_golden

NUMBERS = {"double", "float", "int32", "int64", "uint32", "uint64"}


def test_every_released_field_is_as_it_was() -> None:
    """No number, type or name of a released field is changed, used again or taken away."""
    now = fields_now()

    changed = {name: was for name, was in read_golden().items() if now.get(name) != was}

    assert changed == {}


def test_every_field_is_written_down() -> None:
    """A new field is released when it is in the file."""
    missing = fields_now().keys() - read_golden().keys()

    assert missing == set(), f"run `python -m tests.proto_fields` and check {GOLDEN.name} in"


def test_the_file_is_sorted_and_has_no_number_twice() -> None:
    """So that merges do not hide a clash."""
    lines = GOLDEN.read_text().splitlines()
    numbers = [(line.split("=")[0].rpartition(".")[0], line.split("=")[1]) for line in lines]

    assert lines == sorted(lines)
    assert len(set(numbers)) == len(numbers)


def test_enums_begin_with_unspecified() -> None:
    """A field that was never set is told from every value."""
    zeros = {name for name, rest in fields_now().items() if rest == "0=enum"}

    assert zeros
    assert all(name.endswith("_UNSPECIFIED") for name in zeros)


def test_durations_and_sizes_carry_their_unit() -> None:
    """A number of something measured says of what."""
    measured = re.compile(r"(^|_)(latency|duration|interval|timeout|age|ttft|tpot|e2e)$")
    bare = [
        name
        for name, rest in fields_now().items()
        if rest.rpartition("=")[2].removeprefix("repeated ") in NUMBERS
        and measured.search(name.rpartition(".")[2])
    ]

    assert bare == []
