"""Random programs of events against a plain-Python oracle."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.sidecar.changes import Action, ChangeLog, Tier
from services.sidecar.mirror import BlockLayout, Mirror
from tests.services.sidecar.events_for import clear, keys_of, remove, store

MEDIUM = {Tier.DEVICE: "GPU", Tier.HOST: "CPU", Tier.STORAGE: "STORAGE"}
Prompt = tuple[int, ...]  # a letter per engine block; two letters share the first half of a block

prompts = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
tiers = st.sampled_from(list(Tier))


@dataclass
class Oracle:
    """Copies of each block, named by its whole prefix."""

    copies: dict[Tier, Counter[Prompt]] = field(
        default_factory=lambda: {tier: Counter() for tier in Tier}
    )


class MirrorMachine(RuleBasedStateMachine):
    """The engine stores, copies, removes and clears; readers apply the changes to sets."""

    def __init__(self) -> None:
        super().__init__()
        self.block = 32
        self.mirror = Mirror(BlockLayout("model", self.block, 16))
        self.oracle = Oracle()
        self.log = ChangeLog()
        self.reader: dict[Tier, set[bytes]] = {tier: set() for tier in Tier}

    def _tokens(self, prompt: Prompt) -> list[int]:
        halves = (half for letter in prompt for half in (letter // 2, 10 + letter))
        return [half * 100 + i for half in halves for i in range(self.block // 2)]

    def _keys(self, prompt: Prompt) -> set[bytes]:
        packed = keys_of(self._tokens(prompt))[-16:]
        return {packed[:8], packed[8:]}

    @rule(prompt=prompts, tier=tiers, start=st.integers(0, 5))
    def store_span(self, prompt: Prompt, tier: Tier, start: int) -> None:
        """A span from the start, or from behind a parent that is held."""
        held = self.oracle.copies[tier]
        prefixes = list(accumulate((letter,) for letter in prompt))
        start = min(start, len(prompt) - 1)
        if start and not held[prefixes[start - 1]]:
            start = 0
        span = prefixes[start:]
        self.mirror.apply(
            store(
                [_hash(prefix) for prefix in span],
                self._tokens(prompt[start:]),
                parent=_hash(prefixes[start - 1]) if start else None,
                block_size=self.block,
                medium=MEDIUM[tier],
            ),
            self.log,
        )
        held.update(span)

    @rule(data=st.data(), tier=tiers)
    def remove_block(self, data: st.DataObject, tier: Tier) -> None:
        """Any held block, also from the middle of a prompt."""
        held = self.oracle.copies[tier]
        candidates = sorted(prefix for prefix, count in held.items() if count)
        if candidates:
            prefix = data.draw(st.sampled_from(candidates))
            held[prefix] -= 1
            self.mirror.apply(remove(_hash(prefix), medium=MEDIUM[tier]), self.log)

    @rule()
    def clear_device(self) -> None:
        """The engine resets its prefix cache."""
        self.oracle.copies[Tier.DEVICE].clear()
        self.mirror.apply(clear(), self.log)

    @invariant()
    def equals_the_oracle(self) -> None:
        """The mirror and a reader of its changes hold the oracle's keys, and nothing is doubted."""
        for change in self.log.take():
            keys = {change.keys[at : at + 8] for at in range(0, len(change.keys), 8)}
            reader = self.reader[change.tier]
            if change.action is Action.STORE:
                assert not keys & reader
                reader |= keys
            elif change.action is Action.REMOVE:
                assert keys <= reader
                reader -= keys
            else:
                reader.clear()
        for tier, copies in self.oracle.copies.items():
            expected: set[bytes] = set()
            for prefix in (prefix for prefix, count in copies.items() if count):
                expected |= self._keys(prefix)
            assert self.reader[tier] == expected
            assert self.mirror.held_count(tier) == len(expected)
        assert self.mirror.reason == ""
        self.mirror.check_integrity()


def _hash(prefix: Prompt) -> int:
    """An engine hash: a number that names the whole prefix."""
    return int("1" + "".join(map(str, prefix)))


TestMirror = MirrorMachine.TestCase
TestMirror.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


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
        mirror.apply(event, log)

        mirror.check_integrity()
        orphans = sum(not keys for keys in mirror.held(Tier.DEVICE).blocks)
        assert (mirror.reason == "orphan-blocks") == bool(orphans)
