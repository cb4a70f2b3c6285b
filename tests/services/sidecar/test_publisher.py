"""Deltas out of changes."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from farsight.bus import Bus
from services.sidecar.changes import Action, Change, Tier
from services.sidecar.publisher import MAX_DELTA_BYTES, MAX_PIECE_KEYS, DeltaPublisher, split
from services.sidecar.wire import encode_delta
from tests.fakes.kv_reader import KvReader
from tests.waiting import eventually

CLEAR = Change(Action.CLEAR, Tier.DEVICE, 0, b"")


def store(count: int, first: int = 1, spans: Sequence[int] | None = None) -> Change:
    """A STORE of numbered keys, one span from position 0 unless told."""
    keys = b"".join(key.to_bytes(8, "little") for key in range(first, first + count))
    return Change(Action.STORE, Tier.DEVICE, 0, keys, tuple((0, count) if spans is None else spans))


def positions_of(change: Change) -> list[tuple[bytes, int]]:
    """Each key with its position."""
    spans = zip(change.spans[::2], change.spans[1::2], strict=True)
    at = [first + i for first, count in spans for i in range(count)]
    keys = [change.keys[i : i + 8] for i in range(0, len(change.keys), 8)]
    return list(zip(keys, at or [-1] * len(keys), strict=True))


def encoded_bytes(group: list[Change]) -> int:
    """Size of a delta with the longest numbers."""
    return len(encode_delta("", 0, 0, group, 0))


def test_small_changes_share_a_delta() -> None:
    """In their order."""
    changes = [store(3), CLEAR, store(2)]

    assert list(split(changes)) == [changes]
    assert list(split([])) == []


def test_large_changes_are_cut() -> None:
    """No delta is larger than its bound, and nothing is lost."""
    change = store(MAX_DELTA_BYTES // 8 * 2 + 1)

    groups = list(split([store(1), change, CLEAR]))

    assert all(encoded_bytes(group) <= MAX_DELTA_BYTES for group in groups)
    assert len(groups) == 3
    parts = [part for group in groups for part in group]
    assert positions_of(parts[0]) == positions_of(store(1))
    assert [at for part in parts[1:-1] for at in positions_of(part)] == positions_of(change)
    assert parts[-1] == CLEAR


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.integers(0, 2**31), st.integers(1, 3 * MAX_PIECE_KEYS // 2)),
                max_size=4,
            ),
            st.integers(0, 2000),
        ),
        max_size=3,
    )
)
def test_spans_stay_with_their_keys(program: list[tuple[list[tuple[int, int]], int]]) -> None:
    """However a change is cut: long spans, many spans of one key, no spans at all."""
    changes = []
    for long, singles in program:
        spans = [n for span in [*long, *((7 * i, 1) for i in range(singles))] for n in span]
        count = sum(spans[1::2])
        changes.append(store(count, spans=spans) if count else CLEAR)
    changes.append(Change(Action.REMOVE, Tier.HOST, 3, store(MAX_PIECE_KEYS + 1).keys))

    groups = list(split(changes))

    parts = [part for group in groups for part in group]
    assert all(encoded_bytes(group) <= MAX_DELTA_BYTES for group in groups)
    assert [key for part in parts for key in positions_of(part)] == [
        key for change in changes for key in positions_of(change)
    ]
    names = [(part.action, part.tier, part.group) for part in parts]
    assert [names[0]] + [b for a, b in pairwise(names) if a != b] == [
        name
        for name, before in zip(
            [(c.action, c.tier, c.group) for c in changes],
            [None, *((c.action, c.tier, c.group) for c in changes)],
            strict=False,
        )
        if name != before
    ]


def test_many_small_changes_are_bounded_too() -> None:
    """Each takes more than its keys."""
    groups = list(split([store(1), CLEAR] * 20_000))

    assert all(encoded_bytes(group) <= MAX_DELTA_BYTES for group in groups)
    assert sum(map(len, groups)) == 40_000


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
    await publisher.send([store(2, first=2)])
    await eventually(lambda: reader.seq == 2)
    assert (len(reader.device), publisher.changed_blocks, reader.missed) == (3, 4, 0)
    publisher.begin()
    await publisher.send([store(1)])
    await eventually(lambda: reader.epoch == publisher.epoch and reader.seq == 1)
    assert len(reader.device) == 1


async def test_a_large_change_arrives_in_order(bus: Bus) -> None:
    """Cut into deltas whose numbers were drawn together."""
    reader = KvReader(bus, "pod")
    await bus.flush()
    publisher = DeltaPublisher(bus, "pod")
    publisher.begin()

    sending = publisher.send([store(200_000)])
    await sending
    await eventually(lambda: len(reader.device) == 200_000)

    assert (reader.missed, reader.seq) == (0, publisher.seq)
    assert publisher.changed_blocks == 200_000


async def test_deltas_are_dropped_while_nats_is_away() -> None:
    """The numbers go on, so that a reader sees the gap."""
    publisher = DeltaPublisher(Bus("nats://127.0.0.1:1"), "pod")
    publisher.begin()

    await publisher.send([store(1)])
    await publisher.send([store(1)])

    assert publisher.seq == 2
