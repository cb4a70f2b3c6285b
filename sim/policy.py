"""Routing policies by name: one YAML file each, in `sim/policies`.

A policy names a scheduling profile of the router and what the simulated router knows; only the
oracle decides without one.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from farsight.errors import InvalidField
from services.router.plugins import load_all
from services.router.profile import Profile, parse, shipped_texts

Index = Literal["exact", "approximate"]
D = TypeVar("D", bound="_Document")

_SUFFIX = ".yaml"
_FOLDER = resources.files("sim").joinpath("policies")


@dataclass(frozen=True, slots=True)
class Policy:
    """How requests are routed in a simulation."""

    name: str
    description: str
    index: Index
    """`exact`: KV events reach the index; `approximate`: the router remembers what it routed."""
    training: bool
    """Whether bundles are trained in the loop; without, predictions are the analytic model's."""
    profile: Profile | None
    """None for the oracle."""
    profile_text: str
    """The profile's YAML, as etcd would hold it; empty for the oracle."""
    is_oracle: bool


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    description: str = Field(min_length=1)


class _Profiled(_Document):
    index: Index
    training: bool
    profile: dict[str, Any]


class _Oracle(_Document):
    decider: Literal["oracle"]


class _Shipped(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    shipped: str


def policy_names() -> tuple[str, ...]:
    """Every policy there is."""
    files = (file.name for file in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def load_policy(name: str) -> Policy:
    """The named policy.

    :raises InvalidField: there is none of that name.
    """
    if name not in policy_names():
        raise InvalidField("policy", f"one of {list(policy_names())}, not {name[:64]!r}")
    return parse_policy(name, _FOLDER.joinpath(name + _SUFFIX).read_text())


def parse_policy(name: str, text: str) -> Policy:
    """A policy from YAML.

    :raises InvalidField: it is no YAML, lacks a key or has an unknown one, or its profile is bad.
    """
    field = f"policy {name}"
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidField(field, f"YAML: {error}") from error
    if isinstance(document, dict) and "decider" in document:
        oracle = _checked(field, _Oracle, document)
        return Policy(name, oracle.description, "exact", False, None, "", is_oracle=True)
    made = _checked(field, _Profiled, document)
    text = _profile_text(field, made.profile)
    profile = parse(name, text, load_all())
    return Policy(name, made.description, made.index, made.training, profile, text, is_oracle=False)


def _checked(field: str, shape: type[D], document: object) -> D:
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        raise InvalidField(field, str(error)) from error


def _profile_text(field: str, profile: dict[str, Any]) -> str:
    """YAML of the profile: a shipped one, or the one that the policy spells out."""
    if "shipped" not in profile:
        return yaml.safe_dump(profile)
    try:
        wanted = _Shipped.model_validate(profile).shipped
    except ValidationError as error:
        raise InvalidField(f"{field}.profile", str(error)) from error
    texts = shipped_texts()
    if wanted not in texts:
        raise InvalidField(f"{field}.profile.shipped", f"one of {sorted(texts)}, not {wanted!r}")
    return texts[wanted]
