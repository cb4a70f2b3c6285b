"""Cached prefixes: from the index, from memory, in whole engine blocks."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.index.match import Confidence, Matches
from farsight.keys import Keys, chain, salt_extras
from services.router.approximate import ApproximateMemory
from services.router.prefixes import UNKNOWN_AGE_MS, PrefixLookup
from tests.services.router.given import ScriptedIndex, record, roster, tokens

ONE = roster(record("a"))


def lookup(index: ScriptedIndex, memory: ApproximateMemory | None = None) -> PrefixLookup:
    """A lookup with a memory of 1,000 blocks."""
    return PrefixLookup(index, memory or ApproximateMemory(1000))


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
    memory = ApproximateMemory(1000)
    memory.routed("a", chain(ONE.namespaces[0].seed, tokens(1600), 16))

    found = await lookup(ScriptedIndex({"a": (3, 2, 1)}), memory).find(ONE, tokens(1600), "")

    tiers = (found.device_tokens, found.host_tokens, found.storage_tokens)
    assert [t.tolist() for t in tiers] == [[48], [32], [16]]
    assert found.age_ms.tolist() == [5]
    assert found.confidence.tolist() == [Confidence.EXACT]
    assert found.fallbacks == ()


async def test_a_degraded_answer_is_topped_up_from_memory() -> None:
    """The longer of the two; the confidence stays, and the fallback is named."""
    engines = roster(record("a"), record("b"))
    memory = ApproximateMemory(1000)
    memory.routed("a", chain(ONE.namespaces[0].seed, tokens(160), 16))
    index = ScriptedIndex({"a": (3, 0, 0), "b": (4, 0, 0)}, Confidence.DEGRADED)

    found = await lookup(index, memory).find(engines, tokens(1600), "")

    assert found.device_tokens.tolist() == [160, 64]
    assert found.confidence.tolist() == [Confidence.DEGRADED] * 2
    assert found.fallbacks == ("index-not-exact",)


async def test_an_endpoint_that_the_index_does_not_know_is_approximate() -> None:
    """Others keep their exact answers, in whatever order they come."""
    engines = roster(record("a"), record("b"), record("c"))
    memory = ApproximateMemory(1000)
    memory.routed("b", chain(ONE.namespaces[0].seed, tokens(160), 16))
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
    memory = ApproximateMemory(1000)
    memory.routed("a", chain(ONE.namespaces[0].seed, tokens(160), 16))

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
    found = await PrefixLookup(StrangeIndex(), ApproximateMemory(10)).find(ONE, tokens(100), "")

    assert found.device_tokens.tolist() == [16]
    assert found.confidence.tolist() == [Confidence.DEGRADED]


class BrokenIndex:
    """Answers with columns that disagree."""

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """What the decoder raises."""
        raise InvalidField("endpoint_ids", "columns of equal length")


async def test_a_malformed_answer_is_a_fallback() -> None:
    """It never fails the request."""
    found = await PrefixLookup(BrokenIndex(), ApproximateMemory(10)).find(ONE, tokens(100), "")

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
        found = await PrefixLookup(SlowIndex(), ApproximateMemory(10)).find(
            engines, tokens(100), ""
        )

    assert found.device_tokens.tolist() == [96, 96]
    assert [k.size for _, k in found.keys] == [6, 12]
    assert found.keys_of("b").size == 12


async def test_the_salt_is_part_of_the_keys() -> None:
    """Another salt, another cache."""
    index = ScriptedIndex({"a": (0, 0, 0)})
    seed = ONE.namespaces[0].seed

    await lookup(index).find(ONE, tokens(64), "secret")

    salted = chain(seed, tokens(64), 16, salt_extras("secret"))
    assert index.asked[0][0].tolist() == salted.tolist()
    assert salted.tolist() != chain(seed, tokens(64), 16).tolist()


async def test_the_last_confidence_of_each_endpoint_is_kept() -> None:
    """For status pages."""
    asked = lookup(ScriptedIndex({"a": (0, 0, 0)}))
    nothing = asked.confidences()

    await asked.find(roster(record("a"), record("b")), tokens(64), "")

    assert nothing == {}
    assert asked.confidences() == {"a": Confidence.EXACT, "b": Confidence.APPROXIMATE}
