"""Routed prompts: remembered here, told to the others, heard from them."""

import numpy as np
import pytest

from farsight.keys import Keys, chain, pack
from farsight.pb.events_pb2 import RoutedDelta, RoutedPrompt
from services.router import metrics
from services.router.approximate import ApproximateMemory
from services.router.fleet import Fleet
from services.router.routed import RoutedPrompts
from services.router.speculative import SpeculativePrompts
from tests.services.router.given import Clock, record, stored, tokens

KEYS: Keys = chain(1, tokens(160), 16)
IDS = ("e0", "e1")


def replica(
    router_id: str = "r1", clock: Clock | None = None, blocks: int = 1000, epoch: int = 1
) -> RoutedPrompts:
    """A replica that knows endpoints e0, in the given life, and e1."""
    clock = clock or Clock()
    fleet = Fleet(2.0, clock)
    fleet.update(stored(record("e0", epoch=epoch), record("e1")))
    memory, speculative = ApproximateMemory(blocks), SpeculativePrompts(2.0, clock)
    return RoutedPrompts(router_id, fleet, memory, speculative)


def remembered(made: RoutedPrompts, keys: Keys = KEYS) -> list[int]:
    """Blocks on e0 and e1 that were routed there at some time."""
    return [int(count) for count in made.remembered(keys, IDS)]


def on_their_way(made: RoutedPrompts, keys: Keys = KEYS) -> list[int]:
    """Blocks on e0 and e1 that were routed there just now."""
    nothing = np.zeros(2, np.int64)
    found = made.on_their_way(keys, IDS, nothing, np.ones(2, np.bool_))
    return [int(count) for count in found]


def pass_on(sender: RoutedPrompts, hearer: RoutedPrompts) -> int:
    """Prompts that the sender told."""
    delta = sender.announcement(is_heard=True)
    if delta is None:
        return 0
    hearer.hear("farsight.routed.other", delta.SerializeToString())
    return len(delta.prompts)


def test_a_decision_is_remembered_by_every_replica() -> None:
    """For now and for later."""
    clock = Clock()
    one, two = replica("r1", clock), replica("r2", clock)

    one.decided("d", "e1", KEYS, is_indexed=False)
    told = pass_on(one, two)
    at_once = on_their_way(two)
    clock.now_s += 3

    assert told == 1
    assert (remembered(one), remembered(two)) == ([0, 10], [0, 10])
    assert (at_once, on_their_way(two)) == ([0, 10], [0, 0])


def test_only_news_is_told() -> None:
    """What the index shows and the memory holds is known to all; what either lacks is not."""
    one, two = replica("r1"), replica("r2")
    one.decided("d1", "e0", KEYS, is_indexed=True)
    first = pass_on(one, two)
    one.decided("d2", "e0", KEYS, is_indexed=True)
    second = pass_on(one, two)
    one.decided("d3", "e0", KEYS, is_indexed=False)
    third = pass_on(one, two)
    one.decided("d4", "e0", KEYS[:0], is_indexed=False)

    assert (first, second, third, pass_on(one, two)) == (1, 0, 1, 0)


def test_nothing_is_kept_for_replicas_that_are_not_there() -> None:
    """A replica that comes later hears of later prompts."""
    one = replica("r1")
    one.decided("d", "e0", KEYS, is_indexed=False)

    assert one.announcement(is_heard=False) is None
    assert one.announcement(is_heard=True) is None


@pytest.mark.parametrize("subject", ["farsight.routed.r1", "farsight.routed.other"])
def test_a_replica_does_not_hear_itself(subject: str) -> None:
    """By the subject, and by the name in the message."""
    one = replica("r1")
    prompt = RoutedPrompt(endpoint_id="e0", epoch=1, keys=pack(KEYS))
    delta = RoutedDelta(router_id="r1", prompts=[prompt])

    one.hear(subject, delta.SerializeToString())

    assert remembered(one) == [0, 0]


def test_prompts_for_unknown_endpoints_and_bad_keys_are_left_out() -> None:
    """And counted; the others of the same message are taken."""
    one = replica("r1")
    unknown = metrics.routed_prompts.labels("unknown-endpoint")
    before = unknown._value.get()
    prompts = [
        RoutedPrompt(endpoint_id="nobody", keys=pack(KEYS)),
        RoutedPrompt(endpoint_id="e0", epoch=1, keys=b"123"),
        RoutedPrompt(endpoint_id="e1", epoch=1, keys=pack(KEYS)),
    ]

    one.hear("s", RoutedDelta(router_id="r2", prompts=prompts).SerializeToString())
    one.hear("s", b"\xff\xff")

    assert remembered(one) == [0, 10]
    assert unknown._value.get() == before + 1


@pytest.mark.parametrize("epochs", [(1, 2), (2, 1)], ids=["sender is late", "hearer is late"])
def test_a_prompt_for_another_life_of_the_endpoint_is_left_out(epochs: tuple[int, int]) -> None:
    """Its blocks are not in the cache that the other replica knows; that is counted."""
    one, two = replica("r1", epoch=epochs[0]), replica("r2", epoch=epochs[1])
    other = metrics.routed_prompts.labels("other-epoch")
    before = other._value.get()
    one.decided("d1", "e0", KEYS, is_indexed=False)
    one.decided("d2", "e1", KEYS, is_indexed=False)

    told = pass_on(one, two)

    assert told == 2
    assert (remembered(two), on_their_way(two)) == ([0, 10], [0, 10])
    assert other._value.get() == before + 1


def test_a_request_that_moves_is_expected_at_its_new_endpoint() -> None:
    """By both replicas, and no more at the old one by its own."""
    one, two = replica("r1"), replica("r2")
    one.decided("d", "e0", KEYS, is_indexed=False)

    one.moved("d", "e1")
    one.moved("unknown", "e0")
    pass_on(one, two)

    assert (on_their_way(one), on_their_way(two)) == ([0, 10], [10, 10])
    assert remembered(one) == [10, 10]


def test_requests_that_fail_together_are_expected_where_each_goes() -> None:
    """The first report of the failure does not lose the others' prompts."""
    one = replica("r1")
    other = chain(1, tokens(160, start=10**6), 16)
    one.decided("d1", "e0", KEYS, is_indexed=False)
    one.decided("d2", "e0", other, is_indexed=False)

    for decision_id in ("d1", "d2"):
        one.moved(decision_id, "e1")
        one.failed("e0")

    assert (on_their_way(one), on_their_way(one, other)) == ([0, 10], [0, 10])
    assert remembered(one, other) == [10, 10]


def test_what_will_not_be_served_is_not_expected() -> None:
    """A request that was withdrawn, and all that are on their way to an endpoint that failed."""
    one = replica("r1")
    one.decided("d1", "e0", KEYS, is_indexed=False)
    one.decided("d2", "e1", KEYS, is_indexed=False)

    one.withdrawn("d1")
    withdrawn = on_their_way(one)
    one.failed("e1")

    assert (withdrawn, on_their_way(one)) == ([0, 10], [0, 0])


def test_a_cache_that_is_gone_is_forgotten_everywhere() -> None:
    """In both memories and in what was still to be told."""
    one = replica("r1")
    for endpoint_id in IDS:
        one.decided(endpoint_id, endpoint_id, KEYS, is_indexed=False)

    one.forget("e0")

    delta = one.announcement(is_heard=True)
    assert (remembered(one), on_their_way(one)) == ([0, 10], [0, 10])
    assert delta is not None
    assert [p.endpoint_id for p in delta.prompts] == ["e1"]


def test_a_lost_message_only_hides_its_own_prompts() -> None:
    """The next turn of the same conversation is told whole."""
    one, two = replica("r1"), replica("r2")
    one.decided("d1", "e0", KEYS[:6], is_indexed=False)
    one.announcement(is_heard=True)

    one.decided("d2", "e0", KEYS, is_indexed=False)
    pass_on(one, two)

    assert remembered(two) == [10, 0]


def test_replicas_that_hear_everything_remember_alike() -> None:
    """Within the bound, whoever routes: the heads that return stay with both."""
    one, two = replica("r1", blocks=100), replica("r2", blocks=100)
    hot = chain(1, tokens(160, start=10**6), 16)

    for i in range(60):
        sender, hearer = (one, two) if i % 2 else (two, one)
        sender.decided(f"h{i}", "e0", hot, is_indexed=True)
        sender.decided(f"d{i}", "e0", chain(1, tokens(160, start=1000 * i), 16), is_indexed=True)
        pass_on(sender, hearer)

    latest = chain(1, tokens(160, start=59_000), 16)
    oldest = chain(1, tokens(160), 16)
    for made in (one, two):
        assert remembered(made, hot)[0] == 10
        assert remembered(made, latest)[0] == 10
        assert remembered(made, oldest)[0] == 0
