"""What a cell can be told beside workload, policy, load and seed; its values travel as text."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from farsight.errors import InvalidField
from sim.engine.spec import EngineSpec, TierSpec
from sim.environment import Environment, Fault
from sim.hardware import hardware, shared_storage

_ENVIRONMENT = {f.name for f in fields(Environment)} - {"faults"}


class CellSettings(BaseModel):
    """Defaults are the workload's own set-up and a healthy, well-connected fleet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hardware: str = ""
    """A preset for all pods, or `name*count,name*count`; empty: the workload's."""
    storage: bool = True
    """Pods whose hardware has shared storage use it."""
    duration_s: float | None = Field(None, gt=0)
    """Length of each stage."""
    trace: Path | None = None
    scale: float = Field(1.0, gt=0)
    """Multiplies the rate of a trace."""
    slo_ttft_ms: float | None = Field(None, gt=0)
    """Target of requests that have none of their own."""
    slo_tpot_ms: float | None = Field(None, gt=0)
    faults: str = ""
    """`kind:pod:at_s:duration_s[:factor]`, comma-separated."""
    environment: dict[str, float] = Field(default_factory=dict)
    """Fields of `sim.environment.Environment`."""

    @field_validator("environment")
    @classmethod
    def _known(cls, values: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(values) - _ENVIRONMENT):
            raise ValueError(f"expected some of {sorted(_ENVIRONMENT)}, not {unknown}")
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "CellSettings":
        """Checked settings; environment fields may be given by their own names.

        :raises InvalidField: one is unknown or has a bad value.
        """
        own = {k: v for k, v in values.items() if k not in _ENVIRONMENT}
        around = {k: v for k, v in values.items() if k in _ENVIRONMENT}
        if isinstance(together := own.get("environment"), Mapping):
            around = {**together, **around}
        try:
            made = cls.model_validate({**own, "environment": around} if around else own)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            known = sorted({*cls.model_fields, *_ENVIRONMENT} - {"environment"})
            expected = f"one of {known}" if first["type"] == "extra_forbidden" else first["msg"]
            raise InvalidField(f"setting {name}", expected) from error
        made.make_environment()
        return made

    def as_pairs(self) -> tuple[tuple[str, str], ...]:
        """What differs from the defaults, as names and text; `parse` takes it back."""
        changed = self.model_dump(exclude_defaults=True, mode="json")
        changed |= changed.pop("environment", {})
        return tuple(sorted((name, str(value)) for name, value in changed.items()))

    def make_environment(self) -> Environment:
        """The environment.

        :raises InvalidField: a value is out of range.
        """
        values: dict[str, Any] = dict(self.environment)
        if "routers" in values:
            if not values["routers"].is_integer():
                raise InvalidField("routers", "a number from 1")
            values["routers"] = int(values["routers"])
        return Environment(**values, faults=parse_faults(self.faults))

    def make_fleet(self, default: str, pods: int) -> tuple[tuple[EngineSpec, ...], TierSpec | None]:
        """Engines, and the storage that they share.

        :raises InvalidField: unknown hardware, or counts that do not make `pods`.
        """
        named = parse_mix(self.hardware or default, pods)
        storage = next((s for s in map(shared_storage, named) if s), None)
        return tuple(hardware(name) for name in named), storage if self.storage else None


def parse_mix(text: str, pods: int) -> list[str]:
    """Hardware of each pod, from a name or `name*count,...`."""
    parts = [part.strip().partition("*") for part in text.split(",")]
    if len(parts) == 1 and not parts[0][1]:
        return [parts[0][0]] * pods
    named: list[str] = []
    for name, _, count in parts:
        if not count.isdecimal():
            raise InvalidField("setting hardware", f"name*count, not {name}*{count}")
        named += [name] * int(count)
    if len(named) != pods:
        raise InvalidField("setting hardware", f"counts that add up to {pods} pods")
    return named


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Faults from text."""
    made = []
    for part in filter(None, text.split(",")):
        kind, *numbers = part.strip().split(":")
        try:
            pod, *times = numbers
            made.append(Fault(kind, int(pod), *map(float, times)))  # type: ignore[arg-type] # it checks
        except (ValueError, TypeError) as error:
            raise InvalidField(
                "setting faults", f"slow|hang|die:pod:at_s:duration_s[:factor], not {part!r}"
            ) from error
    return tuple(made)
