"""Who is measured side by side, and under which prefix the figures are written."""

from collections.abc import Callable, Mapping
from functools import partial

from bench.index.holder import Holder
from bench.index.own_holders import IndexHolder, TableHolder
from bench.index.peer_holders import DictHolder, DynamoHolder, has_dynamo

Contenders = Mapping[str, Callable[[], Holder]]


def peers(endpoints: int) -> Contenders:
    """What the table is compared with; without its package, Dynamo is left out."""
    found: dict[str, Callable[[], Holder]] = {"dict_": partial(DictHolder, endpoints)}
    if has_dynamo():
        found["dynamo_"] = partial(DynamoHolder, endpoints)
    return found


def own_table(endpoints: int) -> Contenders:
    """The table by itself."""
    return {"": partial(TableHolder, endpoints)}


def own_index(endpoints: int) -> Contenders:
    """The index around the table."""
    return {"index_": partial(IndexHolder, endpoints)}
