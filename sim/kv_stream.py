"""The pods' KV changes as deltas: what sidecars would publish, with their delay."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, TierKeys
from farsight.pb.types_pb2 import Tier
from sim.engine.engines import Engines
from sim.engine.layout import DEVICE, HOST, KV_EVENT, NONE, STORAGE, grown
from sim.net_changes import TIERS, take_visible
from sim.pods import Pods

_TIERS: tuple[Tier.ValueType, ...] = (Tier.TIER_DEVICE, Tier.TIER_HOST, Tier.TIER_STORAGE)
_ACTIONS = (KvChange.ACTION_REMOVE, KvChange.ACTION_STORE)


class KvStream:
    """Collects raw changes, and cuts them into one delta per pod when somebody looks."""

    def __init__(self, engines: Engines, pods: Pods, delay_s: float) -> None:
        self._engines = engines
        self._pods = pods
        self._delay_s = delay_s
        self._rows = np.zeros(1 << 12, KV_EVENT)
        self._keys = np.zeros(1 << 14, np.uint64)
        self._changed = np.zeros(1 << 14, np.bool_)
        self._count = 0
        self._key_count = 0
        self._is_shared = any(spec.mounts_storage for spec in engines.specs)
        self._reborn: set[int] = set()
        self.seqs = [0] * len(pods)

    def collect(self) -> None:
        """Take what the engines have changed."""
        changes = self._engines.take_kv_changes()
        if changes is None:
            return
        rows, keys = len(changes.rows), len(changes.keys)
        self._make_room(rows, keys)
        at, key_at = self._count, self._key_count
        self._rows[at : at + rows] = changes.rows
        self._rows["at"][at : at + rows] += key_at
        self._keys[key_at : key_at + keys] = changes.keys
        self._changed[key_at : key_at + keys] = changes.changed
        self._count += rows
        self._key_count += keys
        self._engines.clear_kv_changes()
        if self._is_shared:
            self._order_storage()

    def _order_storage(self) -> None:
        """No change of the storage is told after a later one of another pod whose step is shorter.

        Told the other way round, a block that came and went would be there for ever.
        """
        at = np.flatnonzero(self._rows["engine"][: self._count] == NONE)
        times_s = self._rows["time_s"][at]
        self._rows["time_s"][at] = np.minimum.accumulate(times_s[::-1])[::-1]

    def _make_room(self, rows: int, keys: int) -> None:
        while self._count + rows > self._rows.size:
            self._rows = grown(self._rows, 2 * self._rows.size)
        while self._key_count + keys > self._keys.size:
            self._keys = grown(self._keys, 2 * self._keys.size)
            self._changed = grown(self._changed, 2 * self._changed.size)

    def deltas(self, now_s: float) -> Iterator[tuple[int, KvDelta]]:
        """Pod and delta for every pod whose changes have arrived by now."""
        self.collect()
        if not self._count and not self._reborn:
            return
        groups = (len(self._pods) + 1) * TIERS
        rows = self._rows[: self._count]
        keys, actions, starts, ends, self._count, self._key_count = take_visible(
            rows, self._keys, self._changed, now_s - self._delay_s, groups
        )
        full = np.flatnonzero(ends > starts)
        changes: dict[int, list[KvChange]] = {}
        for group in full.tolist():
            span = slice(starts[group], ends[group])
            made = _changes(group % TIERS, keys[span], actions[span])
            for pod in self._owners(group // TIERS - 1):
                changes.setdefault(pod, []).extend(made)
        for pod in sorted(self._reborn):
            if found := self._found_on_storage(pod):
                changes.setdefault(pod, []).append(found)
        self._reborn.clear()
        for pod, made in changes.items():
            yield pod, self._delta(pod, made)

    def _owners(self, engine: int) -> list[int]:
        """Who announces a change: the engine, or all that mount the shared storage.

        A new process announces all of the storage instead.
        """
        if engine >= 0:
            return [engine]
        specs = enumerate(self._engines.specs)
        return [i for i, spec in specs if spec.mounts_storage and i not in self._reborn]

    def _delta(self, pod: int, changes: list[KvChange]) -> KvDelta:
        self.seqs[pod] += 1
        return KvDelta(
            endpoint_id=self._pods.ids[pod],
            epoch=self._pods.epochs[pod],
            seq=self.seqs[pod],
            changes=changes,
        )

    def restart(self, pod: int) -> None:
        """A new process: what the old one announced and nobody has seen is void."""
        self.collect()
        rows = self._rows[: self._count]
        kept = rows[rows["engine"] != pod]
        self._rows[: kept.size] = kept
        self._count = kept.size
        self.seqs[pod] = 0
        self._reborn.add(pod)

    def _found_on_storage(self, pod: int) -> KvChange | None:
        """What a new process finds there; None when that is nothing."""
        for tier, pool in self._tiers(pod):
            if tier == STORAGE and (keys := self._announced(pod, tier, pool)).size:
                return _change(KvChange.ACTION_STORE, tier, keys)
        return None

    def _tiers(self, pod: int) -> list[tuple[int, int]]:
        """Tiers that a pod has, and their pools."""
        spec, count = self._engines.specs[pod], len(self._pods)
        tiers = [(DEVICE, pod)]
        if spec.host:
            tiers.append((HOST, count + pod))
        if spec.mounts_storage and len(self._engines.state.pools) > 2 * count:
            tiers.append((STORAGE, 2 * count))
        return tiers

    def snapshot(self, pod: int) -> KvSnapshot:
        """What the pod's sidecar would answer: its mirror after the last delta."""
        self.collect()
        held = [
            TierKeys(tier=_TIERS[tier - 1], keys=self._announced(pod, tier, pool).tobytes())
            for tier, pool in self._tiers(pod)
        ]
        return KvSnapshot(
            endpoint_id=self._pods.ids[pod],
            epoch=self._pods.epochs[pod],
            seq=self.seqs[pod],
            tiers=held,
            block_count=sum(len(t.keys) // 8 for t in held),
        )

    def _announced(self, pod: int, tier: int, pool: int) -> Keys:
        """Keys of a pool without the changes that are still to be announced."""
        held = set(self._engines.held_keys(pool).tolist())
        rows = self._rows[: self._count]
        owner = NONE if tier == STORAGE else pod
        for row in rows[(rows["engine"] == owner) & (rows["tier"] == tier)][::-1]:
            span = slice(row["at"], row["at"] + row["keys"])
            keys = self._keys[span][self._changed[span]].tolist()
            if row["action"] == KvChange.ACTION_STORE:
                held.difference_update(keys)
            else:
                held.update(keys)
        return np.array(sorted(held), np.uint64)


def _changes(tier: int, keys: Keys, actions: npt.NDArray[np.uint8]) -> list[KvChange]:
    made = []
    for action in _ACTIONS:
        chosen = keys[actions == action]
        if chosen.size:
            made.append(_change(action, tier + 1, chosen))
    return made


def _change(action: KvChange.Action.ValueType, tier: int, keys: Keys) -> KvChange:
    return KvChange(action=action, tier=_TIERS[tier - 1], keys=keys.tobytes())
