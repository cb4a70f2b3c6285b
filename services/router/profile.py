"""Scheduling profiles: YAML to a checked pipeline of filters, scorers and a picker."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from farsight.errors import InvalidField
from services.router.candidates import Candidates, Floats, Mask, RequestView
from services.router.plugins import Filter, Pick, Picker, Registry, Scorer

MAX_PROFILE_BYTES = 64 * 1024
# What PyYAML raises, beside its own errors, for tags and dates that do not fit their values, and
# for deep nesting; pydantic's ValidationError is a ValueError.
_BAD_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filters: list[str | dict[str, dict[str, Any]]] = Field(default_factory=list)
    scorers: list[str | dict[str, dict[str, Any]]] = Field(default_factory=list)
    picker: str | dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a profile decided, with what is needed to explain it."""

    pick: Pick
    position: int
    """Of the chosen candidate among all candidates."""
    filtered_by: tuple[str, ...]
    """Filter that dropped each candidate, empty for those that were scored."""
    scores: tuple[tuple[str, Floats], ...]
    """Per scorer, over the candidates that were scored."""
    totals: Floats
    """Weighted sums over all candidates, -inf where filtered."""
    relaxed: tuple[str, ...]
    """Filters that would have left nothing and were passed over."""

    def ranked(self, alternatives: int | None = None) -> tuple[int, ...]:
        """The chosen candidate, then at most that many others, best total first."""
        order: list[int] = np.argsort(-self.totals, kind="stable").tolist()
        others = [row for row in order if row != self.position]
        return self.position, *others[:alternatives]


@dataclass(frozen=True, slots=True)
class Profile:
    """A named pipeline."""

    name: str
    filters: tuple[tuple[str, Filter], ...]
    scorers: tuple[tuple[str, float, Scorer], ...]
    picker_name: str
    picker: Picker

    def choose(self, request: RequestView, candidates: Candidates) -> Choice:
        """Filter, score and pick among at least one candidate."""
        left, filtered_by, relaxed = self._filter(request, candidates)
        kept = np.flatnonzero(left)
        scored = candidates.subset(kept)
        totals = np.zeros(kept.size)
        scores = []
        for name, weight, rate in self.scorers:
            # fmax takes the number beside a NaN: an unknown score is the lowest.
            score = np.fmin(np.fmax(rate(request, scored), 0.0), 1.0)
            totals += weight * score
            scores.append((name, score))
        pick = self.picker(request, totals)
        everywhere = np.full(len(candidates), -np.inf)
        everywhere[kept] = totals
        return Choice(
            pick, int(kept[pick.position]), filtered_by, tuple(scores), everywhere, relaxed
        )

    def _filter(
        self, request: RequestView, candidates: Candidates
    ) -> tuple[Mask, tuple[str, ...], tuple[str, ...]]:
        left = np.ones(len(candidates), np.bool_)
        filtered_by = [""] * len(candidates)
        relaxed = []
        for name, keeps in self.filters:
            after = left & keeps(request, candidates)
            if not after.any():
                relaxed.append(name)
                continue
            for dropped in np.flatnonzero(left & ~after):
                filtered_by[dropped] = name
            left = after
        return left, tuple(filtered_by), tuple(relaxed)


def shipped_texts() -> dict[str, str]:
    """YAML of the profiles that come with the router, by name."""
    folder = resources.files("services.router").joinpath("profiles")
    return {
        file.name.removesuffix(".yaml"): file.read_text()
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }


def parse(name: str, text: bytes | str, registry: Registry) -> Profile:
    """A profile from YAML.

    :raises InvalidField: it is too long, no YAML, or names an unknown plugin or parameter.
    """
    field = f"profile {name}"
    if len(text) > MAX_PROFILE_BYTES:
        raise InvalidField(field, f"at most {MAX_PROFILE_BYTES} bytes")
    try:
        document = _Document.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, *_BAD_VALUES) as error:
        raise InvalidField(field, f"filters, scorers and a picker: {error}") from error
    scorers = []
    for entry in document.scorers:
        scorer_name, parameters = _split(field, entry)
        weight = parameters.pop("weight", 1.0)
        if type(weight) not in (int, float) or not 0 <= weight < float("inf"):
            raise InvalidField(f"{field}, {scorer_name}.weight", f"a number >= 0, not {weight!r}")
        scorers.append(
            (scorer_name, float(weight), _make(field, registry.scorers, scorer_name, parameters))
        )
    filters = [_split(field, entry) for entry in document.filters]
    picker_name, parameters = _split(field, document.picker)
    return Profile(
        name,
        tuple((n, _make(field, registry.filters, n, p)) for n, p in filters),
        tuple(scorers),
        picker_name,
        _make(field, registry.pickers, picker_name, parameters),
    )


def one_sided(profile: Profile, registry: Registry) -> str:
    """The category that holds all the weight, empty when it is spread or balanced."""
    weighted = {registry.categories[n] for n, weight, _ in profile.scorers if weight > 0}
    return weighted.pop() if len(weighted) == 1 and "balance" not in weighted else ""


def _split(field: str, entry: str | dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if len(entry) != 1:
        raise InvalidField(field, f"one plugin an entry, not {sorted(entry)}")
    ((name, parameters),) = entry.items()
    return name, dict(parameters)


def _make(field: str, table: dict[str, type[Any]], name: str, parameters: dict[str, Any]) -> Any:
    if name not in table:
        raise InvalidField(field, f"one of {sorted(table)}, not {name!r}")
    plugin = table[name]
    known = set(plugin.__dataclass_fields__)
    if unknown := sorted(set(parameters) - known):
        raise InvalidField(f"{field}, {name}", f"parameters {sorted(known)}, not {unknown}")
    try:
        return TypeAdapter(plugin).validate_python(parameters)
    except ValidationError as error:
        raise InvalidField(f"{field}, {name}", str(error)) from error
