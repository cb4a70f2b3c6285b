"""Random programs of events against a plain-Python oracle of an engine with several KV groups."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.sidecar.changes import Action, ChangeLog, Tier
from services.sidecar.events import decode
from services.sidecar.mirror import BlockLayout, Mirror
from services.sidecar.mirror_state import decode as decode_state
from services.sidecar.mirror_state import encode as encode_state
from tests.fakes.engine import EventMap, body_of
from tests.services.sidecar.events_for import clear, placeholder, remove, store
from tests.services.sidecar.mirror_oracle import Oracle, Prefix, hash_of, keys_of_prefix, tokens_of

MEDIUM = {Tier.DEVICE: "GPU", Tier.HOST: "CPU", Tier.STORAGE: "STORAGE"}
FULL, WINDOW, MAMBA = 0, 1, 2
FIELDS: tuple[dict[str, Any], ...] = (
    {"group_idx": FULL, "kind": "full_attention"},
    {"group_idx": WINDOW, "kind": "sliding_window", "window": 40},
    {"group_idx": MAMBA, "kind": "mamba"},
)
LAYOUT = BlockLayout("model", 32, 16)

letters = st.integers(0, 1)
groups = st.sampled_from([FULL, WINDOW, MAMBA])
tiers = st.sampled_from(list(Tier))
sizes = st.sampled_from([1, 2, 8])  # canonical blocks in a block of a group: 16, 32, 128 tokens


class MirrorMachine(RuleBasedStateMachine):
    """The engine stores, copies, removes and clears; a reader applies the changes to sets."""

    @initialize(sizes=st.tuples(sizes, sizes, sizes), chunk=st.integers(1, 3))
    def begin(self, sizes: tuple[int, int, int], chunk: int) -> None:
        """Each group has told its block size: the first event of a group is a whole block."""
        self.sizes, self.chunk = sizes, chunk
        self.mirror = Mirror(LAYOUT, offload_chunk_blocks=chunk, expected_blocks=1)
        self.oracle, self.log = Oracle(), ChangeLog()
        self.reader: dict[tuple[Tier, int], set[int]] = {}
        for group in (FULL, WINDOW, MAMBA):
            self._store(group, Tier.DEVICE, (2,) * sizes[group], 0)

    def _apply(self, event: EventMap) -> None:
        self.mirror.apply(decode(body_of([event])), self.log)

    def _length(self, group: int, chunk: int = 1) -> int:
        return 1 if group == MAMBA else self.sizes[group] * chunk

    def _store(self, group: int, tier: Tier, prompt: Prefix, start: int) -> None:
        """Blocks of a prompt from canonical block `start` on."""
        size = self.sizes[group]
        prefixes = [prompt[:end] for end in range(start + size, len(prompt) + 1, size)]
        self._apply(
            store(
                [hash_of(prefix) for prefix in prefixes],
                tokens_of(prompt[start:]),
                parent=hash_of(prompt[:start]) if start else None,
                block_size=size * 16,
                medium=MEDIUM[tier],
                **FIELDS[group],
            )
        )
        before = prompt[:start]
        for prefix in prefixes:
            known = self.oracle.knows(before) or self.oracle.knows(prefix)
            self.oracle.add(prefix, (tier, group), self._length(group), known)
            before = prefix

    def _prompt(self, data: st.DataObject, group: int, blocks: int = 3) -> Prefix:
        """Whole blocks of a group; prompts share many prefixes."""
        size = self.sizes[group]
        told = data.draw(st.lists(letters, min_size=1, max_size=blocks))
        return tuple(letter for at in told for letter in (*(at,) * (size - 1), at + at))

    @rule(data=st.data(), group=groups, tier=tiers)
    def store_span(self, data: st.DataObject, group: int, tier: Tier) -> None:
        """From the start of a prompt or from behind any block, which may not be known."""
        prompt, size = self._prompt(data, group), self.sizes[group]
        start = data.draw(st.integers(0, len(prompt) // size - 1)) * size
        self._store(group, tier, prompt, start)

    @rule(data=st.data(), group=st.sampled_from([WINDOW, MAMBA]))
    def store_sparse(self, data: st.DataObject, group: int) -> None:
        """Some blocks of a span have no hash: keys are known by other announcements alone."""
        prompt, size = self._prompt(data, group), self.sizes[group]
        ends = range(size, len(prompt) + 1, size)
        chosen = [end for end in ends if data.draw(st.booleans())]
        if len(chosen) == len(ends):
            return
        hashes = [hash_of(prompt[:end]) for end in chosen]
        self._apply(store(hashes, tokens_of(prompt), block_size=size * 16, **FIELDS[group]))
        for end in chosen:
            known = self.oracle.knows(prompt[:end])
            self.oracle.add(prompt[:end], (Tier.DEVICE, group), self._length(group), known)

    @rule(data=st.data(), group=st.sampled_from([FULL, MAMBA]))
    def store_partial(self, data: st.DataObject, group: int) -> None:
        """The prompt's tail inside a block, by its last hash unit."""
        size = self.sizes[group]
        if size == 1:
            return
        prompt = self._prompt(data, group)
        prompt = prompt[: len(prompt) - data.draw(st.integers(1, size - 1))]
        parent = prompt[:-1]
        self._apply(
            store(
                [hash_of(prompt)],
                tokens_of(prompt[-1:]),
                parent=hash_of(parent) if parent else None,
                **FIELDS[group],
            )
        )
        if self.oracle.knows(parent) or self.oracle.knows(prompt):
            length = 1 if group == MAMBA else (len(prompt) - 1) % size + 1
            self.oracle.add(prompt, (Tier.DEVICE, group), length, True)

    @rule(data=st.data(), group=groups, tier=st.sampled_from([Tier.HOST, Tier.STORAGE]))
    def store_placeholder(self, data: st.DataObject, group: int, tier: Tier) -> None:
        """A chunk by its last hash."""
        prompt = self._prompt(data, group, self.chunk)
        self._apply(placeholder(hash_of(prompt), medium=MEDIUM[tier], group_idx=group))
        length = self._length(group, self.chunk)
        self.oracle.add(prompt, (tier, group), length, self.oracle.knows(prompt))

    @rule(data=st.data())
    def remove_block(self, data: st.DataObject) -> None:
        """Any held block, also from the middle of a prompt."""
        if candidates := self.oracle.held():
            prefix, (tier, group) = data.draw(st.sampled_from(candidates))
            self.oracle.remove(prefix, (tier, group))
            self._apply(remove(hash_of(prefix), medium=MEDIUM[tier], group_idx=group))

    @rule()
    def clear_device(self) -> None:
        """The engine resets its prefix cache."""
        self.oracle.clear_device()
        self._apply(clear())

    @rule()
    def restart(self) -> None:
        """A mirror that was stored and restored is the same."""
        state = decode_state(encode_state(self.mirror.export()))
        self._read()
        self.mirror = Mirror.restore(LAYOUT, state, offload_chunk_blocks=self.chunk)

    def _read(self) -> None:
        """A reader takes the changes: nothing is stored twice, or removed that is not there."""
        for change in self.log.take():
            keys = {
                int.from_bytes(change.keys[at : at + 8], "little")
                for at in range(0, len(change.keys), 8)
            }
            held = self.reader.setdefault((change.tier, change.group), set())
            assert (
                len(keys) * 8 == len(change.keys) == sum(change.spans[1::2]) * 8 or not change.spans
            )
            if change.action is Action.STORE:
                assert not keys & held
                held |= keys
            elif change.action is Action.REMOVE:
                assert keys <= held
                held -= keys
            else:
                for (tier, _), of_group in self.reader.items():
                    if tier is change.tier:
                        of_group.clear()

    @invariant()
    def equals_the_oracle(self) -> None:
        """The mirror and a reader of its changes hold the oracle's keys, and the doubts agree."""
        self._read()
        contents = {(part.tier, part.group): part for part in self.mirror.contents()}
        for tier in Tier:
            for group in (FULL, WINDOW, MAMBA):
                expected = self.oracle.keys((tier, group))
                assert self.reader.get((tier, group), set()) == expected
                part = contents.pop((tier, group), None)
                assert (set() if part is None else set(part.keys.tolist())) == expected
        assert not contents
        orphaned = self.oracle.has_orphans([Tier.DEVICE, Tier.HOST])
        assert self.mirror.reason == ("orphan-blocks" if orphaned else "")
        self.mirror.check_integrity()

    @invariant()
    def keys_have_their_positions(self) -> None:
        """Keys come in the order of the positions that prefixes have."""
        position = {
            key: at
            for prefix in self.oracle.blocks
            for at, key in enumerate(keys_of_prefix(prefix))
        }
        for part in self.mirror.contents():
            told = [at for at, n in enumerate(part.position_counts.tolist()) for _ in range(n)]
            assert [position[int(key)] for key in part.keys] == told


TestMirror = MirrorMachine.TestCase
TestMirror.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 5), max_size=3), st.none() | st.integers(0, 5), st.booleans()
        ),
        max_size=30,
    )
)
def test_any_order_of_events_keeps_the_invariants(
    program: list[tuple[list[int], int | None, bool]],
) -> None:
    """Unknown parents, foreign removals and spans in any order never break the mirror."""
    mirror, log = Mirror(BlockLayout("model", 16, 16)), ChangeLog()

    for hashes, parent, is_store in program:
        tokens = [token for block in hashes for token in range(block, block + 16)]
        event = store(hashes, tokens, parent=parent) if is_store else remove(*hashes)
        mirror.apply(decode(body_of([event])), log)

        mirror.check_integrity()
