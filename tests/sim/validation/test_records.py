"""Files of a recording."""

from pathlib import Path

import msgspec
import pytest

from sim.validation.records import Machine, Observation, Pass, PodSizes, Recording, load, save

REQUEST = Observation("prefill", 1.25, [5, 6, 7], [8, 9], [1.5, 1.75], 32)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Into a directory that did not exist."""
    recording = Recording(
        PodSizes(kv_blocks=7), [Pass([[REQUEST], []], [REQUEST], Machine(2.0, 2, 0.0, 0.1))]
    )

    save(recording, tmp_path / "new")

    assert load(tmp_path / "new") == recording


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Instead of being judged."""
    (tmp_path / "recording.json").write_text('{"sizes": 3}')

    with pytest.raises(msgspec.ValidationError):
        load(tmp_path)


def test_times_are_counted_from_the_sending() -> None:
    """To the first and to the last token."""
    assert (REQUEST.ttft_s, REQUEST.e2e_s) == (0.25, 0.5)
