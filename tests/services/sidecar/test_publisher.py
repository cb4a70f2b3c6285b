"""Deltas out of changes."""

from farsight.bus import Bus
from services.sidecar.changes import Action, Change, Tier
from services.sidecar.publisher import MAX_DELTA_KEY_BYTES, DeltaPublisher, split
from tests.fakes.kv_reader import KvReader
from tests.waiting import eventually

CLEAR = Change(Action.CLEAR, Tier.DEVICE, b"")


def store(count: int, first: int = 0) -> Change:
    """A STORE of numbered keys."""
    keys = b"".join(key.to_bytes(8, "little") for key in range(first, first + count))
    return Change(Action.STORE, Tier.DEVICE, keys)


def test_small_changes_share_a_delta() -> None:
    """In their order."""
    changes = [store(3), CLEAR, store(2)]

    assert list(split(changes)) == [changes]
    assert list(split([])) == []


def test_large_changes_are_cut() -> None:
    """No delta carries more than its share of keys, and nothing is lost."""
    change = store(MAX_DELTA_KEY_BYTES // 8 * 2 + 1)

    groups = list(split([store(1), change, CLEAR]))

    sizes = [sum(len(part.keys) for part in group) for group in groups]
    assert sizes == [MAX_DELTA_KEY_BYTES, MAX_DELTA_KEY_BYTES, 16]
    assert b"".join(part.keys for group in groups for part in group) == store(1).keys + change.keys
    assert groups[-1][-1] == CLEAR


def test_epochs_rise_with_the_clock_and_never_fall() -> None:
    """Also when the clock stands still or an earlier sidecar was ahead of it."""
    publisher = DeltaPublisher(Bus("nats://127.0.0.1:1"), "pod", clock_ms=lambda: 100)
    epochs = []
    for recalled in (0, 0, 500):
        publisher.resume_after(recalled)
        publisher.begin()
        epochs.append(publisher.epoch)

    assert epochs == [100, 101, 501]


async def test_deltas_are_numbered_within_an_epoch(bus: Bus) -> None:
    """From 1 on; a new epoch starts again and voids what was."""
    reader = KvReader(bus, "pod")
    await bus.flush()
    publisher = DeltaPublisher(bus, "pod")
    publisher.begin()

    await publisher.send([store(2)])
    await publisher.send([store(2, first=1)])
    await eventually(lambda: reader.seq == 2)
    assert (len(reader.device), publisher.changed_blocks, reader.missed) == (3, 4, 0)
    publisher.begin()
    await publisher.send([store(1)])
    await eventually(lambda: reader.epoch == publisher.epoch and reader.seq == 1)
    assert len(reader.device) == 1


async def test_deltas_are_dropped_while_nats_is_away() -> None:
    """The numbers go on, so that a reader sees the gap."""
    publisher = DeltaPublisher(Bus("nats://127.0.0.1:1"), "pod")
    publisher.begin()

    await publisher.send([store(1)])
    await publisher.send([store(1)])

    assert publisher.seq == 2
