"""What is compared holds the same and answers the same."""

from collections.abc import Callable

import pytest

from bench.index import prompts, workload
from bench.index.filling import fill
from bench.index.holder import Holder
from bench.index.own_holders import IndexHolder, TableHolder
from bench.index.peer_holders import DictHolder, DynamoHolder

ENDPOINTS = 6


@pytest.mark.parametrize("make", [TableHolder, IndexHolder, DictHolder, DynamoHolder])
def test_prefixes_are_those_that_were_put_in(make: Callable[[int], Holder]) -> None:
    """Among other blocks, for every endpoint of every prompt."""
    holder = make(ENDPOINTS)
    asked = prompts.build(4, 150, ENDPOINTS)

    fill(holder, workload.build(5_000, ENDPOINTS).chunks(10))
    spent = fill(holder, [list(asked.deltas())])

    assert spent.wall_s > 0
    for keys, depths in zip(asked.keys, asked.depths, strict=True):
        found = holder.match(holder.prompt(keys))
        assert [holder.held(found, slot) for slot in range(ENDPOINTS)] == depths.tolist()
