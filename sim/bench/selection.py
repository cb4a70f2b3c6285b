"""From the options of the command line to the parts of a matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from farsight.errors import InvalidField
from sim.bench.matrix import DEFAULT_POLICIES, DEFAULT_SEEDS, Part, read_parts
from sim.report.sections import ORACLE
from sim.workload import workload_names


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for, as it was typed; empty and None where nothing was."""

    workloads: Sequence[str] | None = None
    policies: Sequence[str] | None = None
    rates: Sequence[str] | None = None
    concurrency: Sequence[str] | None = None
    ladder: bool = False
    seeds: int | None = None
    pods: int | None = None
    oracle: bool = True
    settings: Sequence[str] | None = None
    """`name=value` each."""
    named_settings: tuple[tuple[str, Path | float | None], ...] = ()
    """Those with an option of their own."""

    def parts(self, matrix: Path | None = None) -> tuple[Part, ...]:
        """One for each workload, or those of the file.

        :raises InvalidField: an option does not parse, or stands beside one that rules it out.
        """
        if matrix is not None:
            if not self._is_empty:
                raise InvalidField("--matrix", "no other choice of cells or settings beside it")
            return read_parts(matrix)
        if not self.workloads:
            raise InvalidField("--workload", f"at least one of {', '.join(workload_names())}")
        try:
            return tuple(self._part(workload) for workload in self.workloads)
        except ValidationError as error:
            raise InvalidField(
                str(error.errors()[0]["loc"][0]), error.errors()[0]["msg"]
            ) from error

    @property
    def name(self) -> str:
        """What the default directory of the results is called."""
        return "+".join(dict.fromkeys(self.workloads or ()))

    @property
    def _is_empty(self) -> bool:
        chosen = (self.workloads, self.policies, self.rates, self.concurrency, self.settings)
        named = [value for _, value in self.named_settings if value is not None]
        is_plain = (self.seeds, self.pods, self.ladder, self.oracle) == (None, None, False, True)
        return is_plain and not any(chosen) and not named

    def _part(self, workload: str) -> Part:
        return Part(
            workload=workload,
            policies=self._policies(),
            rates=tuple(_numbers("--rate", self.rates or ())),
            concurrency=tuple(_whole("--concurrency", self.concurrency or ())),
            ladder=self.ladder,
            pods=self.pods,
            seeds=DEFAULT_SEEDS if self.seeds is None else self.seeds,
            settings=self._settings(),
        )

    def _policies(self) -> tuple[str, ...]:
        asked = self.policies or [name for name in DEFAULT_POLICIES if name != ORACLE]
        return tuple(dict.fromkeys([ORACLE, *asked] if self.oracle else asked))

    def _settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {n: v for n, v in self.named_settings if v is not None}
        for text in self.settings or ():
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise InvalidField("--set", f"name=value, not {text[:64]!r}")
            if name in found:
                raise InvalidField(f"setting {name}", "to be given once")
            found[name] = value
        return found


def _numbers(option: str, texts: Iterable[str]) -> list[float]:
    try:
        return [float(number) for text in texts for number in text.split(",")]
    except ValueError as error:
        raise InvalidField(option, "numbers, with commas between them") from error


def _whole(option: str, texts: Iterable[str]) -> list[int]:
    try:
        return [int(number) for text in texts for number in text.split(",")]
    except ValueError as error:
        raise InvalidField(option, "whole numbers, with commas between them") from error
