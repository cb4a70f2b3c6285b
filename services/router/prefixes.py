"""Cached prefix of a prompt on each endpoint: from the index, else from what was routed where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from farsight.index.match import Confidence, IndexReader
from farsight.keys import Keys, Tokens, chain, salt_extras
from farsight.replicas import ReplicasAway
from services.router.approximate import ApproximateMemory
from services.router.candidates import Floats
from services.router.fleet import Endpoint

UNKNOWN_AGE_MS = float(2**32 - 1)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Columns over endpoints, in tokens, and the named fallbacks that were used."""

    device_tokens: Floats
    host_tokens: Floats
    storage_tokens: Floats
    cached_tokens: Floats
    confidence: tuple[Confidence, ...]
    age_ms: Floats
    fallbacks: tuple[str, ...]
    keys: tuple[Keys, ...]
    """Block keys of the prompt in each endpoint's namespace."""


class PrefixLookup:
    """Asks the index once per namespace, which is once for a pool of equal engines."""

    def __init__(self, index: IndexReader, memory: ApproximateMemory) -> None:
        self._index = index
        self._memory = memory

    async def find(
        self, model: str, tokens: Tokens, cache_salt: str, endpoints: Sequence[Endpoint]
    ) -> Prefixes:
        """Cached prefix of the prompt on each endpoint."""
        found = _Columns(len(endpoints))
        groups: dict[tuple[int, int], list[int]] = {}
        for i, endpoint in enumerate(endpoints):
            namespace = (endpoint.key_seed(model), endpoint.key_block_tokens)
            groups.setdefault(namespace, []).append(i)
        fallbacks: list[str] = []
        for (seed, block_tokens), members in groups.items():
            keys = chain(seed, tokens, block_tokens, salt_extras(cache_salt))
            for i in members:
                found.keys[i] = keys
            ids = [endpoints[i].endpoint_id for i in members]
            fallback = await self._ask(found, keys, block_tokens, members, ids)
            self._fill_from_memory(found, keys, block_tokens, members, ids)
            if fallback:
                fallbacks.append(fallback)
        if not fallbacks and any(c is not Confidence.EXACT for c in found.confidence):
            fallbacks.append("index-not-exact")
        return found.close(tokens.size, endpoints, tuple(fallbacks))

    async def _ask(
        self, found: "_Columns", keys: Keys, block_tokens: int, members: list[int], ids: list[str]
    ) -> str:
        """Fill in what the index knows; returns the name of the fallback when it cannot answer."""
        try:
            matches = await self._index.match(keys, ids)
        except ReplicasAway as error:
            return f"index-{error.why}"
        except InvalidField:
            return "index-bad-reply"
        position = dict(zip(ids, members, strict=True))
        for row, endpoint_id in enumerate(matches.endpoint_ids):
            i = position.get(endpoint_id)
            if i is not None:
                found.tiers[:, i] = (
                    float(matches.device_blocks[row]) * block_tokens,
                    float(matches.host_blocks[row]) * block_tokens,
                    float(matches.storage_blocks[row]) * block_tokens,
                )
                found.age_ms[i] = matches.age_ms[row]
                found.confidence[i] = Confidence(int(matches.confidence[row]))
        return ""

    def _fill_from_memory(
        self, found: "_Columns", keys: Keys, block_tokens: int, members: list[int], ids: list[str]
    ) -> None:
        """Where the index is not exact, what was routed there counts as well."""
        doubtful = [
            (i, e)
            for i, e in zip(members, ids, strict=True)
            if found.confidence[i] is not Confidence.EXACT
        ]
        if not doubtful:
            return
        lengths = self._memory.match(keys, [e for _, e in doubtful])
        for (i, _), blocks in zip(doubtful, lengths.tolist(), strict=True):
            if found.confidence[i] is Confidence.UNSPECIFIED:
                found.confidence[i] = Confidence.APPROXIMATE
            found.tiers[0, i] = max(found.tiers[0, i], blocks * block_tokens)


class _Columns:
    """Prefixes while they are put together."""

    def __init__(self, count: int) -> None:
        self.tiers: npt.NDArray[np.float64] = np.zeros((3, count))
        self.age_ms: Floats = np.full(count, UNKNOWN_AGE_MS)
        self.confidence = [Confidence.UNSPECIFIED] * count
        self.keys: list[Keys] = [np.empty(0, np.uint64)] * count

    def close(
        self, prompt_tokens: int, endpoints: Sequence[Endpoint], fallbacks: tuple[str, ...]
    ) -> Prefixes:
        """An engine takes whole blocks of its own size and always computes the last token."""
        block = np.array([e.block_size_tokens for e in endpoints], np.float64)
        reusable = (prompt_tokens - 1) // block * block
        cached = np.minimum(self.tiers.sum(axis=0) // block * block, reusable)
        device, host, storage = self.tiers
        return Prefixes(
            device,
            host,
            storage,
            np.maximum(cached, 0),
            tuple(self.confidence),
            self.age_ms,
            fallbacks,
            tuple(self.keys),
        )
