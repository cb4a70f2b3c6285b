"""What is filled with blocks and asked for prefixes: Farsight's own structures and their peers.

Each takes deltas and prompts in the form that it would get them in; making that form is `prepared`
and is not timed. Work that goes on in another thread is over when `settle` returns.
"""

from typing import Any, Protocol

from bench.index.workload import Delta
from farsight.keys import Keys


class Holder(Protocol):
    """Blocks of endpoint slots; what `prepared` and `prompt` return is the holder's own affair."""

    def prepared(self, delta: Delta) -> tuple[Any, ...]:
        """A delta as arguments of `add`."""

    def add(self, *prepared: Any) -> object:
        """The endpoint holds the blocks."""

    def settle(self) -> None:
        """Return when everything that was added is in."""

    def prompt(self, keys: Keys) -> Any:
        """A prompt as the argument of `match`."""

    def match(self, prompt: Any) -> object:
        """Length of each endpoint's prefix."""

    def held(self, found: Any, slot: int) -> int:
        """The endpoint's prefix in an answer of `match`, to check it."""
