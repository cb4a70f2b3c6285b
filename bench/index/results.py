"""What a run found: figures by name, and where each part of them comes from."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.index.machine import Machine, commit

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Origin:
    """When a part was measured, of which sources, and how long that took."""

    commit: str
    finished_unix_s: int
    took_s: float


class Results:
    """Figures in a JSON file; a part that is measured again replaces its own figures only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.is_file() else {}
        self._origins: dict[str, Any] = found.pop("parts", {})
        found.pop("machine", None)
        self.figures: dict[str, float] = found

    def add(self, part: str, figures: Figures, took_s: float) -> None:
        """Take what a part has found, and write the file."""
        self.figures.update(figures)
        self._origins[part] = Origin(commit(), int(time.time()), took_s)
        written = {**self.figures, "machine": Machine.this(), "parts": self._origins}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n")
