"""What Farsight's table is compared with, as holders."""

import importlib
import sys
from typing import Any

import msgspec

from bench.index.workload import Delta
from farsight.keys import Keys
from farsight.local.programs import CACHE_DIR

PEERS = CACHE_DIR / "peers"
"""Where packages lie that are compared with, apart from our own environment."""


class DictHolder:
    """A dict from key to an int with a bit for each endpoint: what one writes first in Python."""

    def __init__(self, endpoints: int) -> None:
        self._masks: dict[int, int] = {}
        self._everybody = (1 << endpoints) - 1

    def prepared(self, delta: Delta) -> tuple[Any, ...]:
        """The endpoint's bit and a list of ints."""
        return 1 << delta.slot, delta.keys.tolist()

    def add(self, *prepared: Any) -> object:
        """A lookup and a store a key."""
        flag, keys = prepared
        masks, get = self._masks, self._masks.get
        for key in keys:
            masks[key] = get(key, 0) | flag
        return None

    def settle(self) -> None:
        """Everything is done at once."""

    def prompt(self, keys: Keys) -> list[int]:
        """A list of ints."""
        return [int(key) for key in keys]

    def match(self, prompt: list[int]) -> list[tuple[int, int]]:
        """(Endpoints that end here, length), until nobody goes on."""
        alive, ended = self._everybody, []
        get = self._masks.get
        for length, key in enumerate(prompt):
            held = alive & get(key, 0)
            if held != alive:
                ended.append((alive ^ held, length))
                alive = held
                if not alive:
                    return ended
        ended.append((alive, len(prompt)))
        return ended

    def held(self, found: Any, slot: int) -> int:
        """By the endpoint's bit."""
        return int(next(length for ended, length in found if ended >> slot & 1))


class DynamoHolder:
    """Dynamo's `RadixTree` through its Python binding: events are JSON, prompts lists of ints."""

    def __init__(self, endpoints: int) -> None:
        sys.path.append(str(PEERS))
        self._tree = importlib.import_module("dynamo._core").RadixTree()
        self._events = 0
        self.add = self._tree.apply_event
        self.match = self._tree.find_matches

    def prepared(self, delta: Delta) -> tuple[Any, ...]:
        """A `stored` event; the same key stands for both of Dynamo's hashes."""
        self._events += 1
        blocks = [{"block_hash": key, "tokens_hash": key} for key in delta.keys.tolist()]
        stored = {"parent_hash": delta.parent or None, "blocks": blocks}
        event = {"event_id": self._events, "data": {"stored": stored}}
        return delta.slot, msgspec.json.encode(event)

    def settle(self) -> None:
        """Events are applied in the background, in order: wait for an answer after them."""
        self._tree.find_matches([1])

    def prompt(self, keys: Keys) -> list[int]:
        """A list of ints."""
        return [int(key) for key in keys]

    def held(self, found: Any, slot: int) -> int:
        """By worker and rank."""
        return int(found.scores.get((slot, 0), 0))


def has_dynamo() -> bool:
    """Its package is installed; `make bench-index` sees to it."""
    return (PEERS / "dynamo").is_dir()
