"""The result directory: a JSON file per cell, that of one workload, policy, load and seed.

A cell that is there is not run again, so an interrupted matrix goes on where it stopped, and a
cell that fails leaves a `.failed.json` beside the finished ones.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from farsight.errors import BadRecord, InvalidField
from sim.figures import Figures

_DONE = ".cell.json"
_FAILED = ".failed.json"
_MAX_NAME_PART = 48


@dataclass(frozen=True, slots=True)
class CellKey:
    """What makes a cell; equal keys give equal figures."""

    workload: str
    policy: str
    pods: int
    rate: float | None
    """Requests a second; None when the workload's stages or the concurrency say it."""
    concurrency: int | None
    seed: int
    settings: tuple[tuple[str, str], ...] = ()
    """Name and value of everything else that was chosen, sorted by name."""

    def __post_init__(self) -> None:
        """Equal settings in another order, and 3 for 3.0, make the same key.

        :raises InvalidField: a name or load is given twice.
        """
        if self.rate is not None and self.concurrency is not None:
            raise InvalidField("concurrency", "nothing beside a rate")
        if len({name for name, _ in self.settings}) < len(self.settings):
            raise InvalidField("settings", "each name once")
        object.__setattr__(self, "settings", tuple(sorted(self.settings)))
        if self.rate is not None:
            object.__setattr__(self, "rate", float(self.rate))

    @property
    def stem(self) -> str:
        """File name without its suffix: readable, and unique by a hash of the whole key."""
        parts = [self.workload, self.policy, f"{self.pods}pods"]
        if self.rate is not None:
            parts.append(f"{self.rate:g}rps")
        if self.concurrency is not None:
            parts.append(f"{self.concurrency}users")
        parts += [f"seed{self.seed}", hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]]
        return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", p)[:_MAX_NAME_PART] for p in parts)


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage of a cell."""

    label: str
    offered_per_s: float
    """0 for a closed loop."""
    figures: Figures


@dataclass(frozen=True, slots=True)
class Cost:
    """What the run took on this machine, which no seed decides."""

    wall_s: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class CellResult:
    """A finished cell."""

    key: CellKey
    overall: Figures
    """Over all measured stages."""
    stages: tuple[StageFigures, ...]
    virtual_s: float
    decisions: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class CellFailure:
    """A cell that did not finish, and why."""

    key: CellKey
    error: str


@dataclass(frozen=True, slots=True)
class StoredCells:
    """All that a directory holds, by file name."""

    results: tuple[CellResult, ...]
    failures: tuple[CellFailure, ...]
    unreadable: tuple[BadRecord, ...]
    """One for each file that does not parse, which its text names."""


def deterministic_bytes(result: CellResult) -> bytes:
    """All of a result but its cost: equal on every machine for equal code and key."""
    return msgspec.json.encode(replace(result, cost=Cost(0.0, 0.0)))


_Cell = TypeVar("_Cell", CellResult, CellFailure)


class ResultStore:
    """A directory of cells, made when it is not there."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def has(self, key: CellKey) -> bool:
        """Whether the cell is finished and its file is sound."""
        path = self._directory / f"{key.stem}{_DONE}"
        try:
            return path.exists() and _read(path, CellResult, _DONE).key == key
        except BadRecord:
            return False

    def write(self, result: CellResult) -> None:
        """Keep a finished cell; an earlier failure of it is forgotten."""
        self._replace(f"{result.key.stem}{_DONE}", result)
        (self._directory / f"{result.key.stem}{_FAILED}").unlink(missing_ok=True)

    def failed(self, key: CellKey, error: str) -> None:
        """Keep why a cell did not finish."""
        self._replace(f"{key.stem}{_FAILED}", CellFailure(key, error))

    def read_all(self) -> StoredCells:
        """Every cell and failure that parses, and what does not."""
        unreadable: list[BadRecord] = []
        return StoredCells(
            tuple(self._parsed(_DONE, CellResult, unreadable)),
            tuple(self._parsed(_FAILED, CellFailure, unreadable)),
            tuple(unreadable),
        )

    def _parsed(
        self, suffix: str, kind: type[_Cell], unreadable: list[BadRecord]
    ) -> Iterator[_Cell]:
        for path in sorted(self._directory.glob(f"*{suffix}")):
            try:
                yield _read(path, kind, suffix)
            except BadRecord as error:
                unreadable.append(error)

    def _replace(self, name: str, cell: CellResult | CellFailure) -> None:
        """Write aside and rename, so that no reader and no crash sees half a file."""
        aside = self._directory / f"{name}.{os.getpid()}.tmp"
        try:
            aside.write_bytes(msgspec.json.format(msgspec.json.encode(cell), indent=2))
            os.replace(aside, self._directory / name)
        finally:
            aside.unlink(missing_ok=True)


def _read(path: Path, kind: type[_Cell], suffix: str) -> _Cell:
    """The cell in a file.

    :raises BadRecord: it cannot be read, does not parse, or is another cell's than its name says.
    """
    try:
        cell = msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidField, OSError) as error:
        raise BadRecord(f"{path.name}: {error}") from error
    if path.name != f"{cell.key.stem}{suffix}":
        raise BadRecord(f"{path.name}: holds the cell {cell.key.stem}")
    return cell
