"""The host tier and the shared storage: written through, loaded when missing."""

import pytest

from sim.engine.engines import Gauges
from sim.engine.layout import DEVICE, HOST, STORAGE
from sim.engine.spec import TierSpec
from sim.tokens import Piece
from tests.sim.engine.given import RATES, Asked, Watched, asked, prompt, spec, watched

TIER = TierSpec(capacity_tokens=4096, load_s_per_token=2**-9, latency_s=2**-3)


def prefill_s(context: int, tokens: int) -> float:
    """Duration of a step that computes these tokens alone."""
    attention_s = RATES.attention_s_per_token_squared * tokens * (context + tokens / 2)
    return RATES.base_s + RATES.prefill_s_per_token * tokens + attention_s


def load_s(tokens: int) -> float:
    """How long the link is busy with them."""
    return tokens * TIER.load_s_per_token


def run_all(engines: Watched, *wanted: Asked, engine: int = 0) -> list[int]:
    """Submit at once to engines that are idle and run until the end; names."""
    now_s = engines.engines.reached_s
    names = [engines.submit(asked, now_s, engine) for asked in wanted]
    engines.run(now_s + 1000)
    return names


def with_host(blocks: int = 8, tier: TierSpec = TIER, sequences: int = 256) -> Watched:
    """One engine with a host tier; its device holds so many blocks."""
    return watched(spec(blocks, sequences=sequences, host=tier))


def flush(engines: Watched, engine: int = 0) -> None:
    """Evict all that the device holds."""
    blocks = engines.engines.specs[engine].blocks
    run_all(engines, prompt(seed=999, length_tokens=16 * blocks - 1), engine=engine)


def test_what_is_computed_is_written_through() -> None:
    """Both tiers have it, and say so in their own name."""
    engines = with_host()

    run_all(engines, prompt(seed=1, length_tokens=40, output_tokens=9))

    keys = sorted(asked(Piece(1, 40), output_tokens=9).keys.tolist())
    assert engines.held(0) == engines.held(1) == keys
    assert [(c.tier, c.engine) for c in engines.changes] == [(DEVICE, 0), (HOST, 0)] * 3
    assert [c.position for c in engines.changes] == [0, 0, 1, 1, 2, 2]


def test_what_the_device_has_lost_is_loaded_from_the_host() -> None:
    """First token = latency + tokens over the link + the step that computes the rest."""
    engines = with_host()
    run_all(engines, prompt(seed=1, length_tokens=40))
    flush(engines)
    now_s = engines.engines.reached_s

    [again] = run_all(engines, prompt(seed=1, length_tokens=40))

    progress = engines.at_end[again]
    assert (progress.cached_tokens, progress.host_tokens) == (32, 32)
    loaded_s = now_s + load_s(32) + TIER.latency_s
    assert engines.first_s[again] == loaded_s + prefill_s(context=32, tokens=8)


def test_only_what_is_missing_on_the_device_is_loaded() -> None:
    """The head of a prefix is evicted last."""
    engines = with_host(blocks=5)
    run_all(engines, prompt(seed=1, length_tokens=70))
    run_all(engines, prompt(seed=2, length_tokens=40))

    [again] = run_all(engines, prompt(seed=1, length_tokens=70))

    progress = engines.at_end[again]
    assert (progress.cached_tokens, progress.host_tokens) == (64, 32)


def test_loaded_blocks_are_on_the_device_again() -> None:
    """The next request finds them there."""
    engines = with_host()
    run_all(engines, prompt(seed=1, length_tokens=40))
    flush(engines)
    run_all(engines, prompt(seed=1, length_tokens=40))

    [third] = run_all(engines, prompt(seed=1, length_tokens=40))

    progress = engines.at_end[third]
    assert (progress.cached_tokens, progress.host_tokens) == (32, 0)


def test_others_compute_while_one_loads() -> None:
    """A load blocks neither the step nor the queue."""
    engines = with_host(blocks=16)
    run_all(engines, prompt(seed=1, length_tokens=40))
    flush(engines)
    now_s = engines.engines.reached_s

    loads, computes = run_all(
        engines, prompt(seed=1, length_tokens=40), prompt(seed=2, length_tokens=20)
    )

    assert engines.first_s[computes] == now_s + prefill_s(context=0, tokens=20)
    assert engines.first_s[loads] > now_s + load_s(32)


def test_the_link_to_the_host_serves_one_load_after_the_other() -> None:
    """The second begins when the first one's bytes are through."""
    engines = with_host(blocks=16)
    run_all(engines, *(prompt(seed, length_tokens=40) for seed in (1, 2)))
    flush(engines)
    now_s = engines.engines.reached_s

    first, second = run_all(engines, *(prompt(seed, length_tokens=40) for seed in (1, 2)))

    step_s = prefill_s(context=32, tokens=8)
    assert engines.first_s[first] == now_s + load_s(32) + TIER.latency_s + step_s
    assert engines.first_s[second] == now_s + load_s(64) + TIER.latency_s + step_s


def test_loads_that_end_in_the_same_step_keep_their_order() -> None:
    """First come, first served, when the engine has a place for one of them."""
    fast = TierSpec(capacity_tokens=4096, load_s_per_token=2**-20)
    engines = with_host(blocks=40, tier=fast, sequences=1)
    run_all(engines, *(prompt(seed, length_tokens=40) for seed in (1, 2, 3)))
    flush(engines)

    *loads, other = run_all(
        engines,
        *(prompt(seed, length_tokens=40) for seed in (1, 2, 3)),
        prompt(seed=4, length_tokens=20, output_tokens=3),
    )

    assert engines.end_s[other] < engines.first_s[loads[0]]
    assert sorted(loads, key=lambda name: engines.first_s[name]) == loads


def test_requests_that_have_loaded_do_not_lock_each_other_out() -> None:
    """Each has a part of its prompt in a cache that cannot hold the rest of both."""
    engines = with_host(blocks=10)
    pieces = [(Piece(1, 64), Piece(11, 60)), (Piece(2, 80), Piece(12, 12))]
    for head, _ in pieces:
        run_all(engines, asked(head, Piece(50, 1)))
    flush(engines)

    names = run_all(engines, *(asked(*both) for both in pieces))

    assert sorted(engines.first_s)[-2:] == names
    assert [engines.at_end[name].host_tokens for name in names] == [64, 80]


def test_a_request_that_runs_alone_gets_past_those_that_have_loaded() -> None:
    """It gives way to them when they hold the blocks that it needs."""
    engines = with_host(blocks=10, sequences=1)
    run_all(engines, asked(Piece(1, 48), Piece(50, 1)))
    flush(engines)

    loads, alone = run_all(
        engines,
        asked(Piece(1, 48), Piece(60, 4)),
        prompt(seed=4, length_tokens=40, output_tokens=100),
    )

    assert engines.first_s[alone] < engines.first_s[loads] < engines.end_s[alone]
    assert engines.at_end[alone].generated == 100
    assert engines.at_end[alone].preemptions == 1


def test_a_request_that_loads_can_be_aborted() -> None:
    """What it was to get is not entered, and the engine goes on."""
    engines = with_host(blocks=8)
    run_all(engines, prompt(seed=1, length_tokens=40))
    flush(engines)
    now_s = engines.engines.reached_s
    name = engines.submit(prompt(seed=1, length_tokens=40), now_s)
    engines.run(now_s + 0.01)
    assert engines.engines.gauges(0).waiting == 1

    engines.release(name)
    engines.run()

    assert engines.engines.gauges(0) == Gauges(running=0, waiting=0, kv_usage_ratio=0.0)
    assert not set(asked(Piece(1, 40)).keys.tolist()) & set(engines.held(0))


def test_the_host_forgets_the_tail_of_what_was_used_longest_ago() -> None:
    """It says so; the device is not concerned."""
    engines = with_host(blocks=16, tier=TierSpec(48, 2**-9))

    run_all(engines, prompt(seed=1, length_tokens=40))
    run_all(engines, prompt(seed=2, length_tokens=40))

    gone = [c for c in engines.changes if not c.is_store]
    assert [(c.tier, c.keys) for c in gone] == [(HOST, (int(asked(Piece(1, 40)).keys[1]),))]
    assert len(engines.held(0)) == 4
    assert len(engines.held(1)) == 3


@pytest.mark.parametrize("is_aborted", [False, True])
def test_a_hit_on_the_device_is_a_use_on_the_host_too(is_aborted: bool) -> None:
    """Or a prefix that never leaves the device would be missing below it when it does."""
    engines = with_host(blocks=32, tier=TierSpec(80, 2**-9))
    for seed in (1, 2):
        run_all(engines, prompt(seed, length_tokens=40))
    name = engines.submit(prompt(1, length_tokens=40, output_tokens=5), engines.engines.reached_s)
    engines.run(engines.engines.next_s)
    if is_aborted:
        engines.release(name)
    engines.run(engines.engines.reached_s + 100)

    run_all(engines, prompt(seed=3, length_tokens=40))

    assert set(asked(Piece(1, 40)).keys.tolist()) <= set(engines.held(1))


def test_engines_share_what_is_in_the_storage() -> None:
    """One computes, the other loads; the blocks are announced in nobody's name."""
    engines = watched(*(spec(8, mounts_storage=True) for _ in range(2)), storage=TIER)
    run_all(engines, prompt(seed=1, length_tokens=40), engine=0)
    now_s = engines.engines.reached_s

    [other] = run_all(engines, prompt(seed=1, length_tokens=40), engine=1)

    progress = engines.at_end[other]
    assert (progress.cached_tokens, progress.storage_tokens) == (32, 32)
    loaded_s = now_s + load_s(32) + TIER.latency_s
    assert engines.first_s[other] == loaded_s + prefill_s(context=32, tokens=8)
    stored = [c for c in engines.changes if c.tier == STORAGE]
    assert [c.engine for c in stored] == [None, None]
    assert engines.held(4) == engines.held(0) == engines.held(1)


def test_an_engine_that_does_not_mount_the_storage_computes() -> None:
    """It neither reads nor writes there."""
    engines = watched(spec(8, mounts_storage=True), spec(8), storage=TIER)
    run_all(engines, prompt(seed=1, length_tokens=40), engine=0)

    [other] = run_all(engines, prompt(seed=1, length_tokens=40), engine=1)
    run_all(engines, prompt(seed=2, length_tokens=40), engine=1)

    assert engines.at_end[other].cached_tokens == 0
    assert engines.held(4) == engines.held(0)


def test_the_link_to_the_storage_is_shared_by_all_engines() -> None:
    """Loads of two engines come one after the other."""
    engines = watched(*(spec(8, mounts_storage=True) for _ in range(3)), storage=TIER)
    run_all(engines, prompt(seed=1, length_tokens=40), engine=0)
    now_s = engines.engines.reached_s

    names = [engines.submit(prompt(seed=1, length_tokens=40), now_s, e) for e in (1, 2)]
    engines.run(now_s + 1000)

    step_s = TIER.latency_s + prefill_s(context=32, tokens=8)
    assert [engines.first_s[name] - now_s - step_s for name in names] == [load_s(32), load_s(64)]


def test_a_prefix_can_come_from_three_tiers() -> None:
    """Device, then host, then storage; the longest load decides."""
    host = TierSpec(capacity_tokens=64, load_s_per_token=2**-12)
    engines = watched(spec(6, host=host, mounts_storage=True), storage=TIER)
    run_all(engines, prompt(seed=1, length_tokens=81))
    run_all(engines, prompt(seed=2, length_tokens=33))

    [again] = run_all(engines, prompt(seed=1, length_tokens=81))

    progress = engines.at_end[again]
    assert progress.cached_tokens == 80
    assert progress.host_tokens + progress.storage_tokens < 80


@pytest.mark.parametrize("others_tokens", [16, 48])
def test_the_storage_has_the_block_size_of_those_that_mount_it(others_tokens: int) -> None:
    """The first engine may have another one."""
    engines = watched(
        spec(8, others_tokens),
        *(spec(8, block_tokens=32, mounts_storage=True) for _ in range(2)),
        storage=TierSpec(capacity_tokens=96, load_s_per_token=2**-9),
    )
    run_all(engines, prompt(seed=1, length_tokens=100), engine=1)

    [other] = run_all(engines, prompt(seed=1, length_tokens=100), engine=2)

    assert engines.at_end[other].storage_tokens == 96
    assert engines.held(6) == engines.held(1)
