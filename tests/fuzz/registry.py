"""The targets by name, which are imported late: a guided run watches the import."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from tests.fuzz.target import Target


@dataclass(frozen=True, slots=True)
class Guide:
    """How coverage guides a target.

    :param packages: whose coverage counts.
    :param kernels_as_python: the target's kernels can run as plain Python, so that theirs counts.
    """

    packages: Sequence[str]
    kernels_as_python: bool = False


TARGETS = {
    "decoder": Guide(["services.sidecar"], kernels_as_python=True),
    "mirror": Guide(["services.sidecar"]),
    "saved": Guide(["services.sidecar"]),
    "deltas": Guide(["farsight.index", "farsight.positions", "farsight.table"]),
    "frames": Guide(["services.sidecar.frames"]),
}


def load(name: str) -> Target:
    """Import a target."""
    target: Target = import_module(f"tests.fuzz.{name}").TARGET
    return target
