"""Cached prefix of a prompt on each endpoint: from the index, else from what was routed where."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from farsight.index.match import Confidence, IndexReader, Matches
from farsight.keys import Keys, Tokens, chain, salt_extras
from farsight.replicas import ReplicasAway
from services.router.approximate import ApproximateMemory
from services.router.candidates import Floats
from services.router.roster import Namespace, Roster

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
    confidence: npt.NDArray[np.uint8]
    age_ms: Floats
    fallbacks: tuple[str, ...]
    keys: tuple[tuple[Namespace, Keys], ...]
    """Block keys of the prompt in each namespace."""

    def keys_of(self, endpoint_id: str) -> Keys:
        """Block keys of the prompt in the namespace of one endpoint of the roster."""
        return next(keys for space, keys in self.keys if endpoint_id in space.endpoint_ids)


class PrefixLookup:
    """Asks the index once per namespace, which is once for a pool of equal engines."""

    def __init__(self, index: IndexReader, memory: ApproximateMemory) -> None:
        self._index = index
        self._memory = memory
        self._last_seen: dict[str, tuple[Roster, npt.NDArray[np.uint8]]] = {}

    def confidences(self) -> dict[str, Confidence]:
        """Confidence of each endpoint as its last decision saw it."""
        return {
            endpoint_id: Confidence(value)
            for roster, column in self._last_seen.values()
            for endpoint_id, value in zip(roster.endpoint_ids, column.tolist(), strict=True)
        }

    async def find(self, roster: Roster, tokens: Tokens, cache_salt: str) -> Prefixes:
        """Cached prefix of the prompt on each endpoint."""
        extras = salt_extras(cache_salt)
        keys = tuple(
            (space, chain(space.seed, tokens, space.block_tokens, extras))
            for space in roster.namespaces
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
        return found.close(tokens.size, roster, keys, fallbacks)

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
        routed = self._memory.match(keys, ids).astype(np.float64) * space.block_tokens
        found.tiers[0, rows] = np.maximum(found.tiers[0, rows], routed)
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
        self,
        prompt_tokens: int,
        roster: Roster,
        keys: tuple[tuple[Namespace, Keys], ...],
        fallbacks: tuple[str, ...],
    ) -> Prefixes:
        """An engine takes whole blocks of its own size and always computes the last token."""
        block = roster.block_size_tokens
        reusable = (prompt_tokens - 1) // block * block
        cached = np.minimum(self.tiers.sum(axis=0) // block * block, reusable)
        device, host, storage = self.tiers
        return Prefixes(
            device, host, storage, cached, self.confidence, self.age_ms, fallbacks, keys
        )
