"""Cached prefixes: from the index, from memory, in whole engine blocks."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.extras import prompt_extras
from farsight.index.match import Confidence, IndexReader, Matches
from farsight.keys import Keys, chain, extra_of
from services.router.prefixes import UNKNOWN_AGE_MS, PrefixLookup
from services.router.routed import RoutedPrompts
from tests.services.router.given import ScriptedIndex, record, roster, routed_prompts, tokens

ONE = roster(record("a"))


def lookup(index: IndexReader, routed: RoutedPrompts | None = None) -> PrefixLookup:
    """A lookup, without prompts on their way unless given."""
    return PrefixLookup(index, routed or routed_prompts(speculative_s=0))


def remembering(endpoint_id: str, blocks: int) -> RoutedPrompts:
    """The head of a long prompt went there some time ago."""
    routed = routed_prompts(speculative_s=0)
    routed.decided("d", endpoint_id, prompt_keys(blocks), is_indexed=False)
    return routed


def prompt_keys(blocks: int) -> Keys:
    """Keys of the head of the prompt that the tests ask for."""
    return chain(ONE.namespaces[0].seed, tokens(blocks * 16), 16)


@pytest.mark.parametrize(
    ("prompt_tokens", "block_size", "blocks", "cached"),
    [
        (100, 16, (0, 0, 0), 0),
        (100, 16, (4, 0, 0), 64),
        (100, 16, (6, 0, 0), 96),
        (96, 16, (6, 0, 0), 80),
        (97, 16, (6, 0, 0), 96),
        (16, 16, (1, 0, 0), 0),
        (17, 16, (1, 0, 0), 16),
        (1, 16, (0, 0, 0), 0),
        (200, 64, (7, 0, 0), 64),
        (200, 64, (12, 0, 0), 192),
        (192, 64, (12, 0, 0), 128),
        (100, 16, (2, 1, 1), 64),
        (100, 16, (99, 0, 0), 96),
    ],
    ids=[
        "nothing", "some", "all whole blocks", "last token is computed", "one token more",
        "one block only", "one block and a token", "one token", "engine block of 64",
        "three engine blocks", "engine block with the last token", "tiers add up",
        "an index that says too much",
    ],
)  # fmt: skip
async def test_an_engine_takes_whole_blocks_and_computes_the_last_token(
    prompt_tokens: int, block_size: int, blocks: tuple[int, int, int], cached: int
) -> None:
    """Blocks are canonical ones of 16; the engine's may be larger."""
    engines = roster(record("a", block_size_tokens=block_size))

    found = await lookup(ScriptedIndex({"a": blocks})).find(engines, tokens(prompt_tokens), "")

    assert found.cached_tokens.tolist() == [cached]


async def test_an_exact_answer_is_taken_as_it_is() -> None:
    """Tiers, age and confidence, without a fallback, whatever was routed where."""
    memory = remembering("a", 100)

    found = await lookup(ScriptedIndex({"a": (3, 2, 1)}), memory).find(ONE, tokens(1600), "")

    tiers = (found.device_tokens, found.host_tokens, found.storage_tokens)
    assert [t.tolist() for t in tiers] == [[48], [32], [16]]
    assert found.age_ms.tolist() == [5]
    assert found.confidence.tolist() == [Confidence.EXACT]
    assert found.fallbacks == ()


async def test_a_degraded_answer_is_topped_up_from_memory() -> None:
    """The longer of the two; the confidence stays, and the fallback is named."""
    engines = roster(record("a"), record("b"))
    memory = remembering("a", 10)
    index = ScriptedIndex({"a": (3, 0, 0), "b": (4, 0, 0)}, Confidence.DEGRADED)

    found = await lookup(index, memory).find(engines, tokens(1600), "")

    assert found.device_tokens.tolist() == [160, 64]
    assert found.confidence.tolist() == [Confidence.DEGRADED] * 2
    assert found.fallbacks == ("index-not-exact",)


async def test_an_endpoint_that_the_index_does_not_know_is_approximate() -> None:
    """Others keep their exact answers, in whatever order they come."""
    engines = roster(record("a"), record("b"), record("c"))
    memory = remembering("b", 10)
    index = ScriptedIndex({"c": (2, 0, 0), "a": (1, 0, 0)})

    found = await lookup(index, memory).find(engines, tokens(1600), "")

    assert found.device_tokens.tolist() == [16, 160, 32]
    assert found.confidence.tolist() == [
        Confidence.EXACT,
        Confidence.APPROXIMATE,
        Confidence.EXACT,
    ]
    assert found.age_ms.tolist() == [5, UNKNOWN_AGE_MS, 5]
    assert found.fallbacks == ("index-not-exact",)


@pytest.mark.parametrize("why", ["none", "timeout", "unavailable", "refused", "breaker"])
async def test_without_the_index_memory_answers_under_a_name(why: str) -> None:
    """One named fallback, and an approximate confidence."""
    memory = remembering("a", 10)

    found = await lookup(ScriptedIndex(away=why), memory).find(ONE, tokens(1600), "")

    assert found.cached_tokens.tolist() == [160]
    assert found.confidence.tolist() == [Confidence.APPROXIMATE]
    assert found.fallbacks == (f"index-{why}",)


class StrangeIndex:
    """Answers what no index of this version says."""

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """An endpoint that was not asked for, and a confidence from the future."""
        blocks = np.array([1, 9], np.uint32)
        zero = np.zeros(2, np.uint32)
        return Matches(("a", "zz"), blocks, zero, zero, zero, np.array([9, 1], np.uint8))


async def test_an_answer_from_another_version_is_read_with_care() -> None:
    """An unknown confidence counts as DEGRADED, an endpoint that is no candidate is ignored."""
    found = await lookup(StrangeIndex()).find(ONE, tokens(100), "")

    assert found.device_tokens.tolist() == [16]
    assert found.confidence.tolist() == [Confidence.DEGRADED]


class BrokenIndex:
    """Answers with columns that disagree."""

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """What the decoder raises."""
        raise InvalidField("endpoint_ids", "columns of equal length")


async def test_a_malformed_answer_is_a_fallback() -> None:
    """It never fails the request."""
    found = await lookup(BrokenIndex()).find(ONE, tokens(100), "")

    assert found.fallbacks == ("index-bad-reply",)


class SlowIndex:
    """Answers when both namespaces have asked."""

    def __init__(self) -> None:
        self.both = asyncio.Barrier(2)

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Wait for the other question."""
        await self.both.wait()
        zero = np.zeros(1, np.uint32)
        return Matches(
            tuple(endpoint_ids),
            np.array([keys.size], np.uint32),
            zero,
            zero,
            zero,
            np.ones(1, np.uint8),
        )


async def test_namespaces_are_asked_at_the_same_time() -> None:
    """Each with its own keys: waiting does not add up."""
    engines = roster(record("a"), record("b", key_block_tokens=8))

    async with asyncio.timeout(5):
        found = await lookup(SlowIndex()).find(engines, tokens(100), "")

    assert found.device_tokens.tolist() == [96, 96]
    assert [k.size for _, k in found.keys] == [6, 12]
    assert found.keys_of("b").size == 12


async def test_the_salt_is_part_of_the_keys() -> None:
    """Another salt, another cache."""
    index = ScriptedIndex({"a": (0, 0, 0)})
    seed = ONE.namespaces[0].seed

    await lookup(index).find(ONE, tokens(64), "secret")

    salted = chain(seed, tokens(64), 16, prompt_extras("secret", (), 16))
    assert index.asked[0][0].tolist() == salted.tolist()
    assert salted.tolist() != chain(seed, tokens(64), 16).tolist()


async def test_the_last_confidence_of_each_endpoint_is_kept() -> None:
    """For status pages."""
    asked = lookup(ScriptedIndex({"a": (0, 0, 0)}))
    nothing = asked.confidences()

    await asked.find(roster(record("a"), record("b")), tokens(64), "")

    assert nothing == {}
    assert asked.confidences() == {"a": Confidence.EXACT, "b": Confidence.APPROXIMATE}


async def test_multimodal_items_are_part_of_the_keys() -> None:
    """By identifier and place; what comes before an item is shared with every prompt."""
    index = ScriptedIndex({"a": (0, 0, 0)})
    seed = ONE.namespaces[0].seed

    await lookup(index).find(ONE, tokens(64), "", [("image", 20)])

    seen = extra_of([b"mm", b"image", b"4"])
    expected = chain(seed, tokens(64), 16, np.array([0, seen], np.uint64))
    assert index.asked[0][0].tolist() == expected.tolist()


async def test_a_prompt_on_its_way_counts_though_the_answer_is_exact() -> None:
    """As held by the device; the tokens that stand for it are told apart."""
    routed = routed_prompts()
    routed.decided("d", "a", prompt_keys(40), is_indexed=False)
    engines = roster(record("a"), record("b"))
    index = ScriptedIndex({"a": (10, 20, 5), "b": (3, 0, 0)})

    found = await lookup(index, routed).find(engines, tokens(1600), "")

    tiers = (found.device_tokens, found.host_tokens, found.storage_tokens)
    assert [t.tolist() for t in tiers] == [[640, 48], [0, 0], [0, 0]]
    assert found.cached_tokens.tolist() == [640, 48]
    assert found.speculative_tokens.tolist() == [640 - 560, 0]
    assert found.confidence.tolist() == [Confidence.EXACT] * 2
    assert found.fallbacks == ()


async def test_tiers_go_on_where_a_prompt_on_its_way_ends() -> None:
    """What it will bring to the device is loaded no more; the sum does not change."""
    routed = routed_prompts()
    routed.decided("d", "a", prompt_keys(22), is_indexed=False)

    found = await lookup(ScriptedIndex({"a": (10, 20, 5)}), routed).find(ONE, tokens(1600), "")

    tiers = (found.device_tokens, found.host_tokens, found.storage_tokens)
    assert [t.tolist() for t in tiers] == [[352], [128], [80]]
    assert found.speculative_tokens.tolist() == [0]


async def test_the_last_token_of_a_prompt_on_its_way_is_computed_too() -> None:
    """An equal prompt finds all but its last block when that ends with the prompt."""
    routed = routed_prompts()
    routed.decided("d", "a", prompt_keys(4), is_indexed=False)

    found = await lookup(ScriptedIndex({"a": (0, 0, 0)}), routed).find(ONE, tokens(64), "")

    assert found.cached_tokens.tolist() == [48]
    assert found.speculative_tokens.tolist() == [48]


async def test_a_second_look_sees_what_was_routed_meanwhile() -> None:
    """Without asking the index again."""
    routed = routed_prompts()
    index = ScriptedIndex({"a": (1, 0, 0)})
    asked = lookup(index, routed)
    first = await asked.find(ONE, tokens(1600), "")
    routed.decided("d", "a", prompt_keys(9), is_indexed=False)

    second = asked.look_again(first, ONE, 1600)

    assert first.cached_tokens.tolist() == [16]
    assert second.cached_tokens.tolist() == [144]
    assert len(index.asked) == 1


async def test_only_an_exact_answer_shows_that_the_index_has_the_whole_prompt() -> None:
    """Then nothing is on its way."""
    whole = {"a": (6, 0, 0)}
    degraded = ScriptedIndex(whole, Confidence.DEGRADED)
    partly = ScriptedIndex({"a": (5, 1, 0)})

    shown = [
        (await lookup(index).find(ONE, tokens(100), "")).is_indexed(0)
        for index in (ScriptedIndex(whole), degraded, partly)
    ]

    assert shown == [True, False, False]
