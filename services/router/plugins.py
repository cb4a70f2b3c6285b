"""Contracts and registry of filters, scorers and pickers.

A plugin is one file with one class in `filters/`, `scorers/` or `pickers/`. Its registered name is
the file's stem with dashes, and is the name in profiles, metrics and explanations. Plugins are
pure: no I/O, no clock, no state; everything they need is in their arguments. Their parameters are
the fields of their frozen dataclass; profiles are checked against the fields' types.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field

from services.router.candidates import Candidates, Floats, Mask, RequestView

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

Category = Literal["affinity", "distribution", "balance"]


class Filter(Protocol):
    """Says which candidates stay: a boolean per candidate."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Mask:
        """A mask of shape (n,). All False means that the filter has no opinion: it is relaxed."""
        ...


class Scorer(Protocol):
    """Rates candidates: a float in [0, 1] per candidate, higher is better."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """Scores of shape (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class Pick:
    """Position of the chosen candidate, and why in words."""

    position: int
    reason: str


class Picker(Protocol):
    """Chooses among scored candidates."""

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """`totals` are weighted sums over the candidates that passed the filters, in order."""
        ...


@dataclass(slots=True)
class Registry:
    """Plugin classes by name."""

    filters: dict[str, type[Any]] = field(default_factory=dict)
    scorers: dict[str, type[Any]] = field(default_factory=dict)
    pickers: dict[str, type[Any]] = field(default_factory=dict)
    categories: dict[str, Category] = field(default_factory=dict)


REGISTRY = Registry()
P = TypeVar("P", bound=type[Any])


def filter_plugin(name: str) -> Callable[[P], P]:
    """Register a filter class."""
    return lambda plugin: _register(REGISTRY.filters, name, plugin)


def scorer(name: str, category: Category) -> Callable[[P], P]:
    """Register a scorer class; its category tells whether it draws or spreads load."""
    REGISTRY.categories[name] = category
    return lambda plugin: _register(REGISTRY.scorers, name, plugin)


def picker(name: str) -> Callable[[P], P]:
    """Register a picker class."""
    return lambda plugin: _register(REGISTRY.pickers, name, plugin)


def _register(table: dict[str, type[Any]], name: str, plugin: P) -> P:
    if name in table:
        raise TypeError(f"two plugins are called {name}")
    table[name] = plugin
    return plugin


def load_all() -> Registry:
    """Import every plugin file, so that the registry is whole."""
    for kind in ("filters", "scorers", "pickers"):
        package: ModuleType = importlib.import_module(f"services.router.{kind}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return REGISTRY
