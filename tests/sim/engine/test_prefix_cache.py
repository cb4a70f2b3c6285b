"""What a request finds in the cache, and what goes first when the cache is full."""

import pytest

from sim.tokens import Piece
from tests.sim.engine.given import Change, Watched, asked, prompt, spec, watched


def cached_tokens(engine: Watched, name: int) -> int:
    """Of a request that has ended."""
    return engine.at_end[name].cached_tokens


def run_one(engine: Watched, *pieces: Piece, output_tokens: int = 1) -> int:
    """Submit a request to an idle engine and see it end; its name."""
    name = engine.submit(asked(*pieces, output_tokens=output_tokens), engine.engines.reached_s)
    engine.run(engine.engines.reached_s + 100)
    return name


def fill(engine: Watched, blocks: int) -> None:
    """Compute a prompt that needs so many blocks and shares nothing."""
    run_one(engine, Piece(900 + blocks, 16 * blocks - 1))


@pytest.mark.parametrize(
    ("first_tokens", "then_tokens", "cached"),
    [(15, 15, 0), (17, 17, 16), (40, 33, 32), (40, 32, 16), (48, 48, 32), (49, 49, 48)],
)
def test_full_blocks_are_reused_and_the_last_token_is_computed(
    first_tokens: int, then_tokens: int, cached: int
) -> None:
    """A prompt of whole blocks that is all cached reuses one block less."""
    engine = watched(spec(blocks=64))
    first = run_one(engine, Piece(1, first_tokens))

    again = run_one(engine, Piece(1, then_tokens))

    assert cached_tokens(engine, first) == 0
    assert cached_tokens(engine, again) == cached


def test_the_answer_is_cached_without_its_last_token() -> None:
    """That is never fed back: 20 + 13 tokens leave two blocks, not 33 tokens."""
    engine = watched(spec(blocks=64))

    run_one(engine, Piece(1, 20), output_tokens=12)
    assert len(engine.held()) == 1
    run_one(engine, Piece(2, 20), output_tokens=13)
    assert len(engine.held()) == 3

    answer = Piece(1_000_002, 13)
    next_turn = run_one(engine, Piece(2, 20), answer, Piece(3, 5))
    assert cached_tokens(engine, next_turn) == 32


def test_a_request_hits_what_another_computes_in_the_same_step() -> None:
    """Blocks are cached when they are scheduled, before they are computed."""
    engine = watched(spec(blocks=64))
    first, second = (engine.submit(prompt(seed=1, length_tokens=40)) for _ in range(2))

    engine.run()

    assert engine.first_s[first] == engine.first_s[second]
    assert cached_tokens(engine, second) == 32


def test_the_tail_of_a_prefix_goes_before_its_head() -> None:
    """A prefix that loses blocks is shorter, not gone."""
    engine = watched(spec(blocks=4))
    head, tail = asked(Piece(1, 33)).keys.tolist()
    run_one(engine, Piece(1, 33))

    fill(engine, 3)

    assert head in engine.held()
    assert tail not in engine.held()


@pytest.mark.parametrize(("order", "kept"), [((1, 2), 2), ((2, 1), 1), ((1, 2, 1), 1)])
def test_what_was_used_last_stays(order: tuple[int, ...], kept: int) -> None:
    """A hit makes a prefix young again."""
    engine = watched(spec(blocks=6))
    for seed in order:
        run_one(engine, Piece(seed, 33))

    fill(engine, 4)

    held = set(engine.held())
    for seed in (1, 2):
        prefix = set(asked(Piece(seed, 33)).keys.tolist())
        assert prefix <= held if seed == kept else prefix.isdisjoint(held)


def test_blocks_without_content_are_taken_first() -> None:
    """The half-full block of a request that has ended costs no cached one."""
    engine = watched(spec(blocks=4))
    run_one(engine, Piece(1, 47))

    run_one(engine, Piece(2, 31))

    assert not any(not change.is_store for change in engine.changes)
    assert len(engine.held()) == 3


def test_blocks_of_running_requests_are_not_evicted() -> None:
    """Only free blocks are."""
    engine = watched(spec(blocks=4, sequences=1))
    run_one(engine, Piece(1, 17))
    engine.submit(prompt(seed=1, length_tokens=17, output_tokens=40), engine.engines.reached_s)

    engine.run(engine.engines.reached_s + 0.1)

    assert asked(Piece(1, 16)).keys[0] in engine.held()
    assert engine.engines.gauges(0).kv_usage_ratio == 0.5


def stores(changes: list[Change]) -> list[tuple[bool, ...]]:
    """`changed` of each block that came in."""
    return [change.changed for change in changes if change.is_store]


def removals(changes: list[Change]) -> list[tuple[bool, ...]]:
    """`changed` of each block that left."""
    return [change.changed for change in changes if not change.is_store]


def test_copies_of_a_block_are_counted() -> None:
    """The last block is computed again; only the first and the last of its copies matter."""
    engine = watched(spec(blocks=6))
    for _ in range(2):
        run_one(engine, Piece(1, 32))
    head, tail = asked(Piece(1, 32)).keys.tolist()
    assert [c.keys for c in engine.changes] == [(head,), (tail,), (tail,)]
    assert stores(engine.changes) == [(True,), (True,), (False,)]
    assert engine.held() == sorted([head, tail])

    fill(engine, 6)

    gone = [c for c in engine.changes if not c.is_store and c.keys == (tail,)]
    assert removals(gone) == [(False,), (True,)]


def test_the_oldest_copy_is_the_one_that_is_hit() -> None:
    """A request holds it, so the younger one is evicted, and the key stays."""
    engine = watched(spec(blocks=8))
    for _ in range(2):
        run_one(engine, Piece(1, 32))
    tail = asked(Piece(1, 32)).keys.tolist()[1]

    reached_s = engine.engines.reached_s
    for wanted in (prompt(1, 33, output_tokens=9), prompt(seed=5, length_tokens=70)):
        engine.submit(wanted, reached_s)
    engine.run()

    assert removals([c for c in engine.changes if c.keys == (tail,)]) == [(False,)]
    assert tail in engine.held()


@pytest.mark.parametrize("block_tokens", [32, 48])
def test_a_key_of_two_engine_blocks_changes_with_the_first_and_the_last(block_tokens: int) -> None:
    """Engine blocks that begin alike and end differently have canonical keys in common."""
    engine = watched(spec(blocks=3, block_tokens=block_tokens))
    others = (True,) * (block_tokens // 16 - 1)

    for seed in (1, 2):
        run_one(engine, Piece(0, 16), Piece(seed, block_tokens - 16))
    assert stores(engine.changes) == [(True, *others), (False, *others)]

    run_one(engine, Piece(3, 3 * block_tokens - 1))
    assert removals(engine.changes) == [(False, *others), (True, *others)]


def test_engine_blocks_are_hit_whole() -> None:
    """A common start that is shorter than an engine block is computed again."""
    engine = watched(spec(blocks=20, block_tokens=48))
    run_one(engine, Piece(0, 90))

    assert cached_tokens(engine, run_one(engine, Piece(0, 40), Piece(1, 60))) == 0
    assert cached_tokens(engine, run_one(engine, Piece(0, 90), Piece(2, 60))) == 48


def test_a_cache_is_emptied_when_nobody_uses_it() -> None:
    """Without an event for each block; what runs keeps it from that."""
    engine = watched(spec(blocks=64))
    name = engine.submit(prompt(seed=1, length_tokens=40, output_tokens=9))
    engine.run(engine.engines.next_s)
    assert not engine.engines.empty_cache(0)
    assert len(engine.held()) == 2

    engine.run(10.0)
    changes = len(engine.changes)
    assert engine.engines.empty_cache(0)

    assert engine.held() == []
    assert len(engine.changes) == changes
    again = run_one(engine, Piece(1, 40))
    assert cached_tokens(engine, name) == cached_tokens(engine, again) == 0
