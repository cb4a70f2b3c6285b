"""Mirrors that are kept for the next sidecar."""

import asyncio
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from farsight.bus import Bus
from farsight.errors import BadRecord
from farsight.subjects import MIRROR_BUCKET
from services.sidecar.changes import ChangeLog
from services.sidecar.events import decode as decode_events
from services.sidecar.mirror import Mirror
from services.sidecar.saved_mirror import EngineLife, Moment, SavedMirror, decode, encode
from services.sidecar.stream import EnginePosition
from tests.fakes.engine import body_of, stored
from tests.services.sidecar.events_for import LAYOUT, tokens_of
from tests.waiting import eventually

LIFE = EngineLife(1000.5, "tcp://127.0.0.1:5558")
RING = 100


def mirror_of(*hashes: int) -> Mirror:
    """A mirror that holds one-block prompts."""
    mirror, log = Mirror(LAYOUT), ChangeLog()
    for block in hashes:
        mirror.apply(decode_events(body_of([stored([block], tokens_of(block))])), log)
    return mirror


def moment_at(seq: int) -> Moment:
    """A mirror before batch `seq`."""
    return Moment(EnginePosition(seq, seq / 4), mirror_of(1, 2).export())


def looked(result: str) -> float:
    """How often a look ended so."""
    name = "farsight_sidecar_saved_mirrors_total"
    return REGISTRY.get_sample_value(name, {"result": result}) or 0


@dataclass
class Follower:
    """What is saved, and how often it was read."""

    seq: int = 0
    whole: bool = True
    taken: int = 0

    def whole_at(self) -> EnginePosition | None:
        """Where it is."""
        return EnginePosition(self.seq, 0.5) if self.whole else None

    async def moment(self) -> Moment | None:
        """All of it."""
        self.taken += 1
        return moment_at(self.seq) if self.whole else None


def test_a_saved_mirror_is_read_as_it_was_written() -> None:
    """Engine, position and blocks."""
    moment = moment_at(7)

    life, found = decode(encode(LIFE, moment))

    assert (life, found) == (LIFE, moment)
    restored = Mirror.restore(LAYOUT, found.state)
    assert restored.block_count == 2


@pytest.mark.parametrize("missing", [1, 20, 100])
def test_a_damaged_one_is_refused(missing: int) -> None:
    """With a typed error, whether its end is gone or is another."""
    data = encode(LIFE, moment_at(7))

    for damaged in (b"", data[:-missing], data[:-missing] + b"\x7f" * missing):
        with pytest.raises(BadRecord):
            decode(damaged)


async def test_the_next_sidecar_finds_it(bus: Bus) -> None:
    """Beside the same engine process."""
    await SavedMirror(bus, "pod", LIFE, RING).store(moment_at(7))
    before = looked("loaded")

    assert await SavedMirror(bus, "pod", LIFE, RING).load() == moment_at(7)
    assert looked("loaded") == before + 1


@pytest.mark.parametrize(
    ("result", "life", "name"),
    [
        ("missing", LIFE, "other"),
        ("other-engine", EngineLife(1001.5, LIFE.replay), "pod"),
        ("other-engine", EngineLife(LIFE.process_start_unix_s, "tcp://other:1"), "pod"),
        ("bad", LIFE, "bad"),
    ],
)
async def test_what_cannot_be_gone_on_with_is_counted(
    bus: Bus, result: str, life: EngineLife, name: str
) -> None:
    """By why."""
    await SavedMirror(bus, "pod", LIFE, RING).store(moment_at(7))
    await bus.put_object(MIRROR_BUCKET, "bad", b"\x00" * 30)
    before = looked(result)

    assert await SavedMirror(bus, name, life, RING).load() is None
    assert looked(result) == before + 1


async def test_a_refused_one_is_not_used_again(bus: Bus) -> None:
    """Until a new one has been stored."""
    saved = SavedMirror(bus, "pod", LIFE, RING)
    await saved.store(moment_at(7))
    before = looked("ring-overrun")

    saved.refuse("ring-overrun")
    assert await saved.load() is None
    assert looked("ring-overrun") == before + 1
    await saved.store(moment_at(8))
    assert await saved.load() == moment_at(8)


async def test_it_is_stored_long_before_the_ring_has_turned(bus: Bus) -> None:
    """Each time a quarter of it has been published; never for a mirror that is not whole."""
    follower = Follower(seq=RING // 4 - 1)
    saved = SavedMirror(bus, "pod", LIFE, RING)
    running = asyncio.create_task(saved.run(follower.whole_at, follower.moment))

    await asyncio.sleep(1.2)
    assert follower.taken == 0  # a replay from 0 does
    follower.seq = RING // 4
    await eventually(lambda: follower.taken == 1)
    await asyncio.sleep(1.2)
    assert follower.taken == 1
    follower.seq, follower.whole = 10 * RING, False
    await asyncio.sleep(1.2)
    assert follower.taken == 1
    follower.whole = True
    await eventually(lambda: follower.taken == 2)

    running.cancel()


async def test_it_is_renewed_while_nothing_happens(bus: Bus) -> None:
    """Its bucket would forget it; and after NATS has lost it, it is stored again."""
    follower = Follower(seq=RING)
    saved = SavedMirror(bus, "pod", LIFE, RING, renew_s=3600)
    running = asyncio.create_task(saved.run(follower.whole_at, follower.moment))
    await eventually(lambda: follower.taken == 1)
    await bus.purge()
    saved.forget()
    await eventually(lambda: follower.taken == 2)
    running.cancel()

    renewing = SavedMirror(bus, "pod", LIFE, RING, renew_s=0.1)
    running = asyncio.create_task(renewing.run(follower.whole_at, follower.moment))
    await eventually(lambda: follower.taken >= 5)
    running.cancel()


async def test_without_nats_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while of waiting; storing fails quietly."""
    monkeypatch.setattr("services.sidecar.saved_mirror.CONNECT_S", 0.2)
    saved = SavedMirror(Bus("nats://127.0.0.1:1"), "pod", LIFE, RING)
    before = looked("unavailable")

    await saved.store(moment_at(7))

    assert await saved.load() is None
    assert looked("unavailable") == before + 1


def test_one_without_a_time_is_refused() -> None:
    """By its number alone the batch of another engine process could be taken for the last one."""
    with pytest.raises(BadRecord):
        decode(encode(LIFE, Moment(EnginePosition(7, None), mirror_of(1).export())))
