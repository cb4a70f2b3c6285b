"""Cached prefix of a prompt on each endpoint: from the index, else from what was routed where.

What is on its way to an endpoint counts as well, exact answer or not: `speculative.py` says why.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from farsight.extras import Item, prompt_extras
from farsight.index.match import Confidence, IndexReader, Matches
from farsight.keys import Keys, Tokens, chain
from farsight.replicas import ReplicasAway
from services.router.candidates import Floats
from services.router.roster import Namespace, Roster
from services.router.routed import RoutedPrompts

UNKNOWN_AGE_MS = float(2**32 - 1)
_HIGHEST = max(Confidence).value


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Columns over a roster, in tokens, and the named fallbacks that were used."""

    device_tokens: Floats
    host_tokens: Floats
    storage_tokens: Floats
    cached_tokens: Floats
    """What the engine will take: whole blocks of its own size, never the last token."""
    speculative_tokens: Floats
    """Those of `cached_tokens` that stand for prompts on their way."""
    confidence: npt.NDArray[np.uint8]
    age_ms: Floats
    fallbacks: tuple[str, ...]
    keys: tuple[tuple[Namespace, Keys], ...]
    """Block keys of the prompt in each namespace."""
    known_tokens: Floats
    """Without prompts on their way: device, host and storage; shape (3, endpoints)."""

    def keys_of(self, endpoint_id: str) -> Keys:
        """Block keys of the prompt in the namespace of one endpoint of the roster."""
        return next(keys for space, keys in self.keys if endpoint_id in space.endpoint_ids)

    def is_indexed(self, row: int) -> bool:
        """The index says exactly that the endpoint of a row has every block on its device."""
        space, keys = next(found for found in self.keys if row in found[0].rows)
        is_exact = self.confidence[row] == Confidence.EXACT
        return bool(is_exact and self.known_tokens[0, row] >= keys.size * space.block_tokens)


class PrefixLookup:
    """Asks the index once per namespace, which is once for a pool of equal engines."""

    def __init__(self, index: IndexReader, routed: RoutedPrompts) -> None:
        self._index = index
        self._routed = routed
        self._last_seen: dict[str, tuple[Roster, npt.NDArray[np.uint8]]] = {}

    def confidences(self) -> dict[str, Confidence]:
        """Confidence of each endpoint as its last decision saw it."""
        return {
            endpoint_id: Confidence(value)
            for roster, column in self._last_seen.values()
            for endpoint_id, value in zip(roster.endpoint_ids, column.tolist(), strict=True)
        }

    async def find(
        self,
        roster: Roster,
        tokens: Tokens,
        cache_salt: str,
        multimodal: Sequence[Item] = (),
    ) -> Prefixes:
        """Cached prefix of the prompt on each endpoint."""
        keys = tuple(
            (space, _keys(space, tokens, cache_salt, multimodal)) for space in roster.namespaces
        )
        found = _Columns(len(roster))
        answers = await self._ask_all(keys)
        for (space, chained), answer in zip(keys, answers, strict=True):
            if isinstance(answer, Matches):
                found.take(space, chained.size, answer)
            self._fill_from_memory(found, space, chained)
        fallbacks = tuple(sorted({answer for answer in answers if isinstance(answer, str)}))
        if not fallbacks and (found.confidence != Confidence.EXACT).any():
            fallbacks = ("index-not-exact",)
        self._last_seen[roster.model] = roster, found.confidence
        return self.look_again(found.close(keys, fallbacks), roster, tokens.size)

    def look_again(self, prefixes: Prefixes, roster: Roster, prompt_tokens: int) -> Prefixes:
        """The same answers, with the prompts that are on their way now."""
        known = prefixes.known_tokens
        tiers = known.copy()
        for space, keys in prefixes.keys:
            indexed = (known[0, space.rows] / space.block_tokens).astype(np.int64)
            is_exact = prefixes.confidence[space.rows] == Confidence.EXACT
            blocks = self._routed.on_their_way(keys, space.endpoint_ids, indexed, is_exact)
            if blocks is not indexed:
                _hold(tiers, space.rows, blocks.astype(np.float64) * space.block_tokens)
        cached = _cached(tiers, prompt_tokens, roster.block_size_tokens)
        certain = _cached(known, prompt_tokens, roster.block_size_tokens)
        return replace(
            prefixes,
            device_tokens=tiers[0],
            host_tokens=tiers[1],
            storage_tokens=tiers[2],
            cached_tokens=cached,
            speculative_tokens=cached - certain,
        )

    async def _ask_all(self, keys: Sequence[tuple[Namespace, Keys]]) -> list[Matches | str]:
        if len(keys) == 1:  # the usual case needs no task
            return [await self._ask(*keys[0])]
        return await asyncio.gather(*(self._ask(space, k) for space, k in keys))

    async def _ask(self, space: Namespace, keys: Keys) -> Matches | str:
        """What the index knows, or the name of the fallback when it cannot answer."""
        try:
            return await self._index.match(keys, space.endpoint_ids)
        except ReplicasAway as error:
            return f"index-{error.why}"
        except InvalidField:
            return "index-bad-reply"

    def _fill_from_memory(self, found: "_Columns", space: Namespace, keys: Keys) -> None:
        """Where the index is not exact, what was routed there counts as well."""
        doubtful = found.confidence[space.rows] != Confidence.EXACT
        if not doubtful.any():
            return
        rows = space.rows[doubtful]
        ids = [space.endpoint_ids[i] for i in np.flatnonzero(doubtful)]
        routed = self._routed.remembered(keys, ids).astype(np.float64) * space.block_tokens
        _hold(found.tiers, rows, routed)
        unknown = rows[found.confidence[rows] == Confidence.UNSPECIFIED]
        found.confidence[unknown] = Confidence.APPROXIMATE


class _Columns:
    """Prefixes while they are put together."""

    def __init__(self, count: int) -> None:
        self.tiers: Floats = np.zeros((3, count))
        self.age_ms: Floats = np.full(count, UNKNOWN_AGE_MS)
        self.confidence = np.full(count, Confidence.UNSPECIFIED, np.uint8)

    def take(self, space: Namespace, blocks: int, matches: Matches) -> None:
        """Fill in what the index answered; a confidence that is new to us counts as DEGRADED."""
        rows, answered = space.rows, slice(None)
        if matches.endpoint_ids != space.endpoint_ids:
            row_of = dict(zip(space.endpoint_ids, space.rows.tolist(), strict=True))
            known = [i for i, e in enumerate(matches.endpoint_ids) if e in row_of]
            rows = np.array([row_of[matches.endpoint_ids[i]] for i in known], np.intp)
            answered = np.array(known, np.intp)  # type: ignore[assignment] # either one indexes
        tiers = (matches.device_blocks, matches.host_blocks, matches.storage_blocks)
        for tier, column in enumerate(tiers):
            self.tiers[tier, rows] = np.minimum(column[answered], blocks) * space.block_tokens
        self.age_ms[rows] = matches.age_ms[answered]
        confidence = matches.confidence[answered]
        unheard = confidence > _HIGHEST
        self.confidence[rows] = np.where(unheard, Confidence.DEGRADED, confidence)

    def close(
        self, keys: tuple[tuple[Namespace, Keys], ...], fallbacks: tuple[str, ...]
    ) -> Prefixes:
        """What was answered, without prompts on their way."""
        device, host, storage = self.tiers
        none = np.zeros_like(self.age_ms)
        return Prefixes(
            device, host, storage, none, none, self.confidence, self.age_ms, fallbacks, keys,
            self.tiers,
        )  # fmt: skip


def _keys(space: Namespace, tokens: Tokens, cache_salt: str, multimodal: Sequence[Item]) -> Keys:
    extras = prompt_extras(cache_salt, multimodal, space.block_tokens)
    return chain(space.seed, tokens, space.block_tokens, extras)


def _hold(tiers: Floats, rows: npt.NDArray[np.intp], device_tokens: Floats) -> None:
    """The devices of some rows hold at least so much; the other tiers go on from there."""
    ends = np.maximum(tiers[:, rows].cumsum(axis=0), device_tokens)
    tiers[:, rows] = np.diff(ends, axis=0, prepend=0)


def _cached(tiers: Floats, prompt_tokens: int, block_size_tokens: Floats) -> Floats:
    """An engine takes whole blocks of its own size and always computes the last token."""
    reusable = (prompt_tokens - 1) // block_size_tokens * block_size_tokens
    whole = tiers.sum(axis=0) // block_size_tokens * block_size_tokens
    cached: Floats = np.minimum(whole, reusable)
    return cached
