"""What replicas tell each other is bounded on both sides."""

import numpy as np
import pytest

from farsight import metrics as shared_metrics
from farsight.keys import pack
from farsight.pb.events_pb2 import RoutedDelta, RoutedPrompt
from services.router import sharing
from services.router.sharing import RoutedOutbox, decode_routed, keys_of

KEYS = np.arange(1, 101, dtype=np.uint64)


def told(outbox: RoutedOutbox) -> list[tuple[str, int]]:
    """Endpoint and number of keys of each prompt of the next message."""
    delta = outbox.take()
    return [] if delta is None else [(p.endpoint_id, len(p.keys) // 8) for p in delta.prompts]


def refusals() -> float:
    """Counted so far."""
    return float(shared_metrics.bad_records.labels("routed")._value.get())


def test_a_message_names_its_sender_and_whole_prompts() -> None:
    """In the order in which they were routed, each once, with the life it was sent to."""
    outbox = RoutedOutbox("r1")
    outbox.add("a", 7, KEYS)
    outbox.add("b", 8, KEYS[:3])

    delta = outbox.take()

    assert delta is not None
    assert delta.router_id == "r1"
    assert [(p.endpoint_id, p.epoch) for p in delta.prompts] == [("a", 7), ("b", 8)]
    assert delta.prompts[0].keys == pack(KEYS)
    assert outbox.take() is None


def test_messages_are_small_and_nothing_waits_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest comes with the next message; the oldest are dropped; of a long prompt its head."""
    monkeypatch.setattr(sharing, "MESSAGE_BYTES", 1000)
    monkeypatch.setattr(sharing, "MAX_WAITING_BYTES", 4010)
    monkeypatch.setattr(sharing, "MAX_TOLD_KEYS", 50)
    outbox = RoutedOutbox("r1")

    for i in range(20):
        outbox.add(str(i % 10), 1, KEYS)

    messages = [told(outbox) for _ in range(5)]
    assert [len(message) for message in messages] == [3, 3, 3, 1, 0]
    assert messages[0] == [("0", 50), ("1", 50), ("2", 50)]
    assert messages[3] == [("9", 50)]


def test_short_prompts_make_no_message_that_is_refused() -> None:
    """What waits after a stall is told in messages that the hearer takes."""
    outbox = RoutedOutbox("r1")
    for _ in range(2000):
        outbox.add("e", 1, KEYS[:1])

    heard = 0
    while (delta := outbox.take()) is not None:
        taken = decode_routed(delta.SerializeToString())
        assert taken is not None
        heard += len(taken.prompts)

    assert heard == 2000


def test_what_nobody_should_hear_any_more_is_not_told() -> None:
    """Of an endpoint whose cache is gone, and of all when nobody listens."""
    outbox = RoutedOutbox("r1")
    for endpoint_id in ("a", "b", "a"):
        outbox.add(endpoint_id, 1, KEYS)

    outbox.forget("a")
    without_a = told(outbox)
    outbox.add("a", 1, KEYS)
    outbox.clear()

    assert without_a == [("b", 100)]
    assert told(outbox) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff",
        RoutedDelta().SerializeToString(),
        RoutedDelta(router_id="r2", prompts=[RoutedPrompt()] * 129).SerializeToString(),
        RoutedDelta(router_id="r" * (sharing.MAX_HEARD_BYTES + 1)).SerializeToString(),
    ],
    ids=["no message", "no sender", "too many prompts", "too large"],
)
def test_a_message_out_of_bounds_is_refused_and_counted(data: bytes) -> None:
    """Before it is looked at."""
    before = refusals()

    assert decode_routed(data) is None
    assert refusals() == before + 1


@pytest.mark.parametrize(
    "keys", [b"123", bytes(8), bytes(8 * 4097)], ids=["half a key", "key 0", "too long"]
)
def test_keys_that_cannot_be_any_are_refused_and_counted(keys: bytes) -> None:
    """They would break the memories."""
    before = refusals()

    assert keys_of(RoutedPrompt(endpoint_id="a", keys=keys)) is None
    assert refusals() == before + 1
