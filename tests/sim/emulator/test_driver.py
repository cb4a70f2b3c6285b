"""The driver moves the engines along with a clock and tells what has happened by then."""

import asyncio

import pytest

from sim.emulator.driver import Driver
from tests.sim.emulator.driving import BLOCK, Driven, Record, job, seconds


def test_tokens_come_when_their_step_ends() -> None:
    """One a second, after the one that computes the prompt."""
    pods = Driven()
    run = pods.driver.submit(job(1, 40, 3), 0)

    pods.after(0.99)
    assert run.generated == 0
    pods.after(0.02)
    assert (run.generated, run.finished) == (1, False)
    pods.after(2.0)
    assert (run.generated, run.finished, run.slot) == (3, True, None)
    record = pods.records[0]
    assert record.ttfts_s == [1.0]
    assert record.gaps == [(2, 1.0)]
    assert record.ends == [(run, 3.0)]
    assert pods.driver.runs == ()


def test_a_faster_clock_shortens_what_is_measured() -> None:
    """Ten seconds of the engines in one."""
    pods = Driven(speed=10.0)
    pods.driver.submit(job(1, 40, 3), 0)

    pods.after(0.31)

    record = pods.records[0]
    assert record.ttfts_s == [pytest.approx(0.1)]
    assert record.ends[0][1] == pytest.approx(0.3)


def test_a_request_does_not_get_into_a_step_that_began_before_it() -> None:
    """Also when nobody has looked at the clock since that step ended."""
    pods = Driven()
    first = pods.driver.submit(job(1, 40, 5), 0)
    pods.clock.now_s += 1.5
    second = pods.driver.submit(job(2, 40, 5), 0)

    pods.after(1.0)
    assert (first.generated, second.generated) == (2, 0)
    pods.after(1.0)
    assert (first.generated, second.generated) == (3, 1)


def test_what_a_step_stores_is_published_when_it_ends() -> None:
    """A batch for each step that changed the cache."""
    pods = Driven()
    pods.driver.submit(job(1, 2 * BLOCK, BLOCK + 2), 0)

    pods.after(0.5)
    assert pods.records[0].batches == []
    pods.after(0.6)
    assert [len(event["block_hashes"]) for event in pods.records[0].batches[0]] == [2]
    pods.after(100.0)
    assert [len(event["block_hashes"]) for (event,) in pods.records[0].batches] == [2, 1]


def test_pods_are_independent() -> None:
    """Each has its own engine, cache and observer."""
    pods = Driven(pods=2)
    left = pods.driver.submit(job(1, 2 * BLOCK, 1), 0)
    pods.after(0.5)
    right = pods.driver.submit(job(1, 2 * BLOCK, 1), 1)

    pods.after(0.6)
    assert (left.finished, right.finished) == (True, False)
    pods.after(0.5)
    assert right.finished
    assert [len(record.batches) for record in pods.records] == [1, 1]
    assert [run.cached_tokens for run in (left, right)] == [0, 0]


def test_the_second_request_takes_the_prefix_from_the_cache() -> None:
    """Its last block is computed again when the prompt ends with it."""
    pods = Driven()
    pods.driver.submit(job(1, 3 * BLOCK, 1), 0)
    pods.after(1.0)
    again = pods.driver.submit(job(1, 3 * BLOCK, 1), 0)
    pods.after(1.0)

    assert again.cached_tokens == 2 * BLOCK


def test_an_aborted_request_leaves_its_engine() -> None:
    """Its blocks are free, the step ends without it, and nobody is told of tokens."""
    pods = Driven()
    run = pods.driver.submit(job(1, 5 * BLOCK, 100), 0)
    pods.after(3.5)
    assert pods.driver.gauges(0).running == 1
    pods.driver.abort(run)

    assert (pods.driver.gauges(0).running, pods.driver.gauges(0).kv_usage_ratio) == (0, 0.0)
    assert pods.records[0].ends == [(run, 3.5)]
    assert not run.finished
    pods.driver.abort(run)
    pods.after(10.0)
    assert run.generated == 3
    assert len(pods.records[0].ends) == 1


def test_evictions_are_published_one_by_one() -> None:
    """The tail of the oldest prefix goes first."""
    pods = Driven(blocks=6)
    pods.driver.submit(job(1, 4 * BLOCK, 1), 0)
    pods.after(1.0)
    first = pods.records[0].batches[0][0]["block_hashes"]
    pods.driver.submit(job(2, 4 * BLOCK, 1), 0)
    pods.after(1.0)

    removed = pods.records[0].batches[1][:-1]
    assert [event["block_hashes"] for event in removed] == [[first[3]], [first[2]]]
    assert pods.records[0].names()[1] == ["BlockRemoved"] * 2 + ["BlockStored"]


def test_a_preempted_request_keeps_its_tokens_and_is_counted() -> None:
    """Two answers grow until only one fits; the counter knows before the end."""
    pods = Driven(blocks=8)
    runs = [pods.driver.submit(job(i, 3 * BLOCK, 4 * BLOCK), 0) for i in range(2)]

    pods.after(40.0)
    assert pods.driver.preemptions(0) == 1
    pods.after(500.0)
    assert all(run.finished for run in runs)
    assert pods.driver.preemptions(0) == 0


def test_an_emptied_cache_is_announced_with_the_next_step() -> None:
    """Before what that step stores."""
    pods = Driven()
    pods.driver.submit(job(1, 2 * BLOCK, 1), 0)
    pods.after(1.0)

    assert pods.driver.clear_cache(0)
    pods.after(5.0)
    assert pods.records[0].names() == [["BlockStored"]]
    again = pods.driver.submit(job(1, 2 * BLOCK, 1), 0)
    pods.after(1.0)
    assert pods.records[0].names()[1:] == [["AllBlocksCleared", "BlockStored"]]
    assert again.cached_tokens == 0


def test_a_step_that_stores_nothing_announces_it_too() -> None:
    """As the demo relies on."""
    pods = Driven(pods=2)
    pods.driver.submit(job(1, 2 * BLOCK, 1), 1)
    pods.after(1.0)
    assert pods.driver.clear_cache(1)
    pods.driver.submit(job(2, 1, 1), 1)
    pods.driver.submit(job(2, 1, 1), 0)
    pods.after(1.0)

    assert pods.records[1].names() == [["BlockStored"], ["AllBlocksCleared"]]
    assert pods.records[0].names() == []


def test_a_cache_that_is_in_use_is_not_emptied() -> None:
    """Nothing is announced either."""
    pods = Driven()
    pods.driver.submit(job(1, 2 * BLOCK, 5), 0)
    pods.after(1.5)

    assert not pods.driver.clear_cache(0)
    pods.after(10.0)
    assert pods.records[0].names() == [["BlockStored"]]


def test_what_an_aborted_step_stored_comes_before_its_end() -> None:
    """The cache is emptied after a step whose events are still to be published."""
    pods = Driven()
    run = pods.driver.submit(job(1, 2 * BLOCK, 5), 0)
    pods.after(0.5)
    pods.driver.abort(run)
    assert pods.driver.clear_cache(0)
    pods.after(1.0)

    assert pods.records[0].names() == [["BlockStored", "AllBlocksCleared"]]


async def test_the_task_sleeps_until_something_is_due() -> None:
    """Real time: a request wakes it, and its response follows token by token."""
    record = Record()
    driver = Driver(seconds(), [record], speed=1000.0)
    moving = asyncio.create_task(driver.run())
    await asyncio.sleep(0)
    run = driver.submit(job(1, 40, 20), 0)

    seen = [await run.beyond(0)]
    while not run.finished:
        seen.append(await run.beyond(seen[-1]))
    await run.end()
    moving.cancel()

    assert seen == sorted(set(seen))
    assert seen[-1] == 20
    assert record.ends == [(run, 0.02)]
