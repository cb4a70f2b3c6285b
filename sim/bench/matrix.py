"""Which cells a benchmark consists of."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from farsight.errors import InvalidField
from sim.cell_settings import CellSettings
from sim.cells import CellKey
from sim.policy import load_policy
from sim.report.sections import ORACLE
from sim.run_cell import prepare
from sim.workload import Workload, load_workload

DEFAULT_POLICIES = (
    *(ORACLE, "predicted", "affinity-token-load", "precise-prefix"),
    *("approximate-prefix", "load", "random"),
)
DEFAULT_SEEDS = 3

Load = tuple[float | None, int | None]


class Part(BaseModel):
    """Cells of one workload: one for each load, policy and seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workload: str
    policies: tuple[str, ...] = Field(default=DEFAULT_POLICIES, min_length=1)
    rates: tuple[float, ...] = ()
    """Requests a second. Without rates, concurrency and ladder: the workload's own stages."""
    concurrency: tuple[int, ...] = ()
    ladder: bool = False
    """The loads are the workload's ladder."""
    pods: int | None = Field(default=None, ge=1)
    """None: as many as the workload is published for."""
    seeds: int = Field(default=DEFAULT_SEEDS, ge=1)
    """From 1 to this."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """See `sim.cell_settings`."""


_PARTS = TypeAdapter(tuple[Part, ...])


def read_parts(path: Path) -> tuple[Part, ...]:
    """The parts that a YAML file lists.

    :raises InvalidField: it cannot be read or is no list of parts.
    """
    try:
        return _PARTS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise InvalidField(f"{path}, {where}", f"a list of parts: {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidField(str(path), f"YAML: {' '.join(str(error).split())}") from error


def expand(parts: Iterable[Part]) -> tuple[CellKey, ...]:
    """Every cell once; all of one seed come before those of the next.

    :raises InvalidField: a workload or setting is unknown, or the loads contradict each other.
    """
    keys = dict.fromkeys(key for part in parts for key in _keys_of(part))
    return tuple(sorted(keys, key=lambda key: key.seed))


def check(keys: Sequence[CellKey]) -> None:
    """Everything that can be known to be wrong before a cell runs.

    :raises InvalidField: see `sim.run_cell.prepare`.
    """
    for policy in dict.fromkeys(key.policy for key in keys):
        load_policy(policy)
    # A trace, say, is the same for all policies and seeds.
    alike = {replace(key, policy="", seed=0): key for key in keys}
    for key in alike.values():
        try:
            prepare(key)
        except InvalidField as error:
            raise InvalidField(f"workload {key.workload}: {error.field}", error.expected) from error


def _keys_of(part: Part) -> list[CellKey]:
    try:
        workload = load_workload(part.workload)
    except InvalidField as error:
        raise InvalidField(f"workload {part.workload[:64]!r}", error.expected) from error
    pods = workload.fleet.pods if part.pods is None else part.pods
    settings = CellSettings.parse(part.settings).as_pairs()
    return [
        CellKey(part.workload, policy, pods, rate, users, seed, settings)
        for seed in range(1, part.seeds + 1)
        for rate, users in _loads(part, workload)
        for policy in part.policies
    ]


def _loads(part: Part, workload: Workload) -> list[Load]:
    if bool(part.rates) + bool(part.concurrency) + part.ladder > 1:
        raise InvalidField("load", "one of rate, concurrency and ladder")
    if part.ladder and workload.ladder_knob == "concurrency":
        return [(None, int(users)) for users in workload.ladder]
    rates = workload.ladder if part.ladder else part.rates
    with_rate: list[Load] = [(rate, None) for rate in rates]
    return with_rate or [(None, users) for users in part.concurrency] or [(None, None)]
