"""What a fuzz target is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.fuzz.program import Step


@dataclass(frozen=True, slots=True)
class Target:
    """One entry for bytes from a network.

    :param seeds: valid inputs to start from, made by code.
    :param run: takes one input; what it raises is a finding.
    :param mutate: changes one step's payload within its format, so that it still parses mostly.
    """

    name: str
    seeds: Sequence[bytes]
    run: Callable[[bytes], None]
    mutate: Callable[[Step, Random], bytes]
