"""One epoch: batches in, deltas out, bad batches understood."""

import pytest

from farsight import subjects
from farsight.bus import Bus
from farsight.pb.events_pb2 import KvDelta
from services.sidecar.changes import Tier
from services.sidecar.events import Batch
from services.sidecar.frames import Frame
from services.sidecar.kv_groups import KvGroupRule, Rule
from services.sidecar.mirror import Mirror
from services.sidecar.publisher import DeltaPublisher
from services.sidecar.stream import Resync
from services.sidecar.tracker import BadBatches, Tracker
from tests.fakes.engine import body_of, removed, stored
from tests.fakes.kv_reader import KvReader, keys_in
from tests.services.sidecar.events_for import LAYOUT, keys_of, tokens_of
from tests.waiting import eventually

A, B = tokens_of(1), tokens_of(2)
BAD = Frame(7, b"\xc1")


def tracker_on(bus: Bus, bad: BadBatches | None = None) -> tuple[Tracker, DeltaPublisher]:
    """A tracker in its first epoch."""
    publisher = DeltaPublisher(bus, "pod")
    publisher.begin()
    return Tracker(Mirror(LAYOUT), publisher, bad or BadBatches()), publisher


async def test_history_is_published_as_what_is_left_of_it(bus: Bus) -> None:
    """One delta with the blocks held at its end, none for what came and went."""
    reader = KvReader(bus, "pod")
    await bus.flush()
    tracker, publisher = tracker_on(bus)

    tracker.apply(Frame(0, body_of([stored([1, 2], A + B)])))
    await tracker.flush()
    tracker.apply(Frame(1, body_of([removed([2])])))
    await tracker.flush()
    assert (publisher.seq, tracker.reason) == (0, "catching-up")
    await tracker.caught_up()

    await eventually(lambda: reader.seq == 1)
    assert (reader.device, tracker.reason) == (keys_in(keys_of(A)), "")


async def test_batches_of_a_slice_share_a_delta(bus: Bus) -> None:
    """Live batches are published when the slice is done."""
    tracker, publisher = tracker_on(bus)
    await tracker.caught_up()

    tracker.apply(Frame(0, body_of([stored([1], A)])))
    tracker.apply(Frame(1, body_of([stored([2], B, parent=1)])))
    await tracker.flush()
    await tracker.flush()

    assert (publisher.seq, publisher.changed_blocks, tracker.block_count) == (1, 2, 2)


async def test_an_empty_cache_needs_no_delta(bus: Bus) -> None:
    """The epoch itself says that everything before it is void."""
    tracker, publisher = tracker_on(bus)

    await tracker.caught_up()

    assert (publisher.seq, tracker.reason) == (0, "")


async def test_a_bad_batch_in_the_history_degrades(bus: Bus) -> None:
    """It would be bad again: the stream goes on."""
    tracker, _ = tracker_on(bus)

    tracker.apply(BAD)
    tracker.apply(Frame(8, body_of([stored([1], A)])))
    await tracker.caught_up()

    assert (tracker.reason, tracker.block_count) == ("undecodable-events", 1)


async def test_a_bad_live_batch_is_read_again_ever_more_rarely(bus: Bus) -> None:
    """Each try doubles the wait; between them the endpoint stays DEGRADED."""
    now = [0.0]
    tracker, _ = tracker_on(bus, BadBatches(first_reread_s=5, clock=lambda: now[0]))
    await tracker.caught_up()
    reread_at = []

    for second in range(40):
        now[0] = second
        try:
            tracker.apply(BAD)
        except Resync:
            reread_at.append(second)

    assert reread_at == [0, 5, 15, 35]
    assert tracker.reason == "undecodable-events"


async def test_a_bad_batch_is_logged_once(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """The counter has the others."""
    tracker, _ = tracker_on(bus)

    for _ in range(3):
        tracker.apply(BAD)

    assert [r.message for r in caplog.records] == ["KV events not decodable"]


async def test_what_is_published_first_says_where_blocks_stand(bus: Bus) -> None:
    """The start of an epoch has the chains of the history as spans."""
    sent: list[KvDelta] = []
    bus.subscribe(subjects.delta("pod"), lambda _, data: sent.append(KvDelta.FromString(data)))
    await bus.flush()
    tracker, _ = tracker_on(bus)
    tracker.apply(Frame(0, body_of([stored([1, 2], A + B), removed([1])])))

    await tracker.caught_up()

    await eventually(lambda: len(sent) == 1)
    (change,) = sent[0].changes
    assert (change.keys, list(change.spans)) == (keys_of(A + B)[8:], [1, 1])


async def test_room_is_made_before_it_is_needed(bus: Bus) -> None:
    """Beside the event loop, between two slices: no batch of usual size waits for it."""
    mirror = Mirror(LAYOUT, expected_blocks=1024)
    publisher = DeltaPublisher(bus, "pod")
    publisher.begin()
    tracker = Tracker(mirror, publisher, BadBatches())
    small = mirror.memory_bytes
    tokens = [token for at in range(800) for token in tokens_of(at)]

    tracker.apply(Frame(0, body_of([stored(range(800), tokens)])))
    assert (mirror.memory_bytes, mirror.is_crowded) == (small, True)
    await tracker.flush()

    assert mirror.memory_bytes > small
    assert (mirror.is_crowded, tracker.block_count) == (False, 800)
    mirror.check_integrity()


async def test_tells_contents_and_rules(bus: Bus) -> None:
    """What a snapshot and a heartbeat need, and a state to go on with."""
    tracker, _ = tracker_on(bus)

    tracker.apply(Frame(0, body_of([stored([1], A, group_idx=2, kind="mamba")])))

    (part,) = tracker.contents()
    assert (part.tier, part.group, part.keys.tobytes()) == (Tier.DEVICE, 1, keys_of(A))
    assert tracker.rules == (KvGroupRule(1, Rule.CHECKPOINT, 0),)
    assert tracker.without_prefix_group
    assert Mirror.restore(LAYOUT, tracker.export()).block_count == tracker.block_count == 1


async def test_batches_can_be_observed(bus: Bus) -> None:
    """Each one that can be decoded, once."""
    seen: list[Batch] = []
    publisher = DeltaPublisher(bus, "pod")
    tracker = Tracker(Mirror(LAYOUT), publisher, BadBatches(), seen.append)

    tracker.apply(Frame(0, body_of([stored([1], A)])))
    tracker.apply(BAD)

    assert [batch.hashes.tolist() for batch in seen] == [[1]]
