"""The KV groups of an engine: which of its layers share blocks, and how long a prefix each allows.

Groups are learnt from the events that store in them. The first group of a PREFIX kind is group 0 of
the index; the others are numbered 1, 2, ... in the order in which they appear. Block sizes differ
between groups; what is smaller than a group's block is a partial block.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

MAX_GROUPS = 64  # higher numbers are not supported


class Rule(IntEnum):
    """How long a prefix a group allows; values as in proto/events.proto."""

    PREFIX = 1  # every block of the prefix
    SUFFIX = 2  # the last window_blocks blocks
    CHECKPOINT = 3  # the last block


@dataclass(frozen=True, slots=True)
class KvGroupRule:
    """A group of the index; `window_blocks` is in canonical blocks, 0 unless the rule is SUFFIX."""

    group: int
    rule: Rule
    window_blocks: int


class NotIndexed(Enum):
    """Why the events of a group are left out."""

    NO_PREFIX_CACHE = "no prefix cache"  # encoders: nothing is missing
    UNSUPPORTED = "unsupported"  # the engine hits less than the index would say


RULE_OF_KIND: dict[str, Rule | NotIndexed] = {
    "": Rule.PREFIX,  # engines without groups
    "full_attention": Rule.PREFIX,
    "mla_attention": Rule.PREFIX,
    "sink_full_attention": Rule.PREFIX,
    "sliding_window": Rule.SUFFIX,
    "sliding_window_mla": Rule.SUFFIX,
    "mamba": Rule.CHECKPOINT,
    "encoder_only_attention": NotIndexed.NO_PREFIX_CACHE,
    "cross_attention": NotIndexed.NO_PREFIX_CACHE,
}


@dataclass(slots=True)
class Group:
    """One group; `block_tokens` is its engine block, the largest that was announced."""

    index_group: int
    rule: Rule
    block_tokens: int
    window_tokens: int


class KvGroups:
    """The groups seen so far, by the engine's number.

    :param key_block_tokens: the canonical block.
    :param drops_last_block: the engine recomputes the last block that it finds (EAGLE, MTP), so
        that sliding windows need one block more.
    """

    def __init__(self, key_block_tokens: int, *, drops_last_block: bool = False) -> None:
        self._key_block_tokens = key_block_tokens
        self._drops_last_block = drops_last_block
        self._groups: dict[int, Group | NotIndexed] = {}
        self._has_prefix_group = False
        self._next_group = 1

    def find(self, engine_group: int) -> Group | NotIndexed | None:
        """A group; None when nothing was stored in it yet."""
        return self._groups.get(engine_group)

    def learn(
        self, engine_group: int, kind: str, window_tokens: int, block_tokens: int
    ) -> Group | NotIndexed:
        """The group that an event stores in, which may be new or have larger blocks than known.

        :param window_tokens: 0 when it is not told.
        :param block_tokens: a multiple of the canonical block.
        """
        group = self._groups.get(engine_group)
        if group is None and not 0 <= engine_group < MAX_GROUPS:
            return NotIndexed.UNSUPPORTED
        if group is None:
            group = self._new_group(kind, window_tokens, block_tokens)
            self._groups[engine_group] = group
        elif isinstance(group, Group):
            group.block_tokens = max(group.block_tokens, block_tokens)
        return group

    def _new_group(self, kind: str, window_tokens: int, block_tokens: int) -> Group | NotIndexed:
        rule = RULE_OF_KIND.get(kind, NotIndexed.UNSUPPORTED)
        if isinstance(rule, NotIndexed):
            return rule
        if rule is Rule.SUFFIX and window_tokens < 1:
            return NotIndexed.UNSUPPORTED
        if rule is Rule.PREFIX and not self._has_prefix_group:
            self._has_prefix_group = True
            return Group(0, rule, block_tokens, 0)
        group = Group(self._next_group, rule, block_tokens, window_tokens)
        self._next_group += 1
        return group

    def restore(self, groups: dict[int, Group | NotIndexed]) -> None:
        """Know the groups that an earlier mirror has learnt."""
        self._groups = dict(groups)
        numbers = [group.index_group for group in self.indexed.values()]
        self._has_prefix_group = 0 in numbers
        self._next_group = max(numbers, default=0) + 1

    def __len__(self) -> int:
        """Groups seen, those that are not indexed among them."""
        return len(self._groups)

    @property
    def all(self) -> dict[int, Group | NotIndexed]:
        """Groups by the engine's number."""
        return dict(self._groups)

    @property
    def indexed(self) -> dict[int, Group]:
        """Groups that are indexed, by the engine's number."""
        found = self._groups.items()
        return {number: group for number, group in found if isinstance(group, Group)}

    @property
    def rules(self) -> tuple[KvGroupRule, ...]:
        """Rules of the groups beside group 0, by number."""
        groups = sorted(self.indexed.values(), key=lambda group: group.index_group)
        return tuple(
            KvGroupRule(group.index_group, group.rule, self._window_blocks(group))
            for group in groups
            if group.index_group
        )

    @property
    def without_prefix_group(self) -> bool:
        """There are groups, and none needs every block of a prefix."""
        return bool(self.indexed) and not self._has_prefix_group

    def _window_blocks(self, group: Group) -> int:
        if group.rule is not Rule.SUFFIX:
            return 0
        needed = -((1 - group.window_tokens) // group.block_tokens) + self._drops_last_block
        return max(needed, 1) * (group.block_tokens // self._key_block_tokens)
