"""Compares a sample of an engine's block hashes with what its own events say was hashed.

Where they agree, the events mean what they seem to: tokens, block size and extra keys are complete.
Where they do not, something is hashed that events do not tell, and block keys made of the rest may
name blocks of different contents alike.

Only spans that begin a prompt are compared, because the hash before them is known, and only without
an adapter, because its path is hashed and not told. With `auto` the first span that agrees with an
algorithm decides for it; until then nothing is said about agreement, since the engine may well use
an algorithm or a seed that cannot be guessed.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.engine_hash import SHA256, XXHASH, EngineHash, Untaggable, tag, wire_hash
from services.sidecar.event_rows import MEDIUMS
from services.sidecar.events import Batch, EventKind

log = get_logger(__name__)

INTERVAL_S = 0.5
MAX_BLOCKS = 8
MAX_TOKENS = 1024
WINDOW_SPANS = 64
UNKNOWN = "unknown"
_UNDECIDED_SPANS = 8
_DEVICE = [MEDIUMS.index(medium) for medium in ("", "GPU")]


class Agreement:
    """Agreement of one engine process; `observe` takes about 0.1 ms twice a second.

    :param algorithm: one of vLLM's, or `auto`.
    :param seed: the engine's PYTHONHASHSEED; empty when it has none.
    """

    def __init__(
        self, algorithm: str, seed: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        guesses = (*SHA256, *XXHASH) if seed else SHA256
        names = guesses if algorithm == "auto" else (algorithm,)
        self._candidates = [EngineHash(name, seed) for name in names]
        self._is_decided = algorithm != "auto"
        self._undecided_spans = 0
        self._clock = clock
        self._not_before = float("-inf")
        self._recent: deque[tuple[int, int]] = deque(maxlen=WINDOW_SPANS)
        metrics.hash_agreement_ratio.set(math.nan)

    @property
    def ratio(self) -> float:
        """Share of the hashes of the last spans that agreed; NaN while it cannot be said."""
        compared = sum(compared for compared, _ in self._recent)
        return sum(agreeing for _, agreeing in self._recent) / compared if compared else math.nan

    def observe(self, batch: Batch) -> None:
        """Compare one span of a batch, unless one has been compared just now."""
        now = self._clock()
        if now < self._not_before:
            return
        rows = batch.rows
        stored = (rows["kind"] == EventKind.STORED) & (rows["block_tokens"] > 0)
        # Coarser KV groups are hashed in the blocks of the finest.
        unit = int(np.gcd.reduce(rows["block_tokens"][stored])) if stored.any() else 0
        for i in np.flatnonzero(stored & _begins_prompt(rows)).tolist():
            if self._compare(batch, i, unit):
                self._not_before = now + INTERVAL_S
                return

    def _compare(self, batch: Batch, i: int, unit: int) -> bool:
        """Compare the first blocks of a span; False when it cannot be."""
        row = batch.rows[i]
        block_tokens = int(row["block_tokens"])
        blocks = min(int(row["hashes"]), MAX_BLOCKS, MAX_TOKENS // block_tokens)
        extra_keys: list[Any] = []
        if (beside := batch.beside.get(i)) is not None:
            extra_keys = (beside.extra_keys or [])[:blocks]
            if beside.lora_name or (any(extra_keys) and unit != block_tokens):
                return False
        try:
            tagged = [tag(values, at == 0) for at, values in enumerate(extra_keys)]
        except Untaggable:
            return False
        if not blocks:
            return False
        first_token, first_hash = int(row["first_token"]), int(row["first_hash"])
        tokens = batch.tokens[first_token : first_token + blocks * block_tokens].tolist()
        told = batch.hashes[first_hash : first_hash + blocks].tolist()
        every = block_tokens // unit
        if every > 1:
            tagged = []
        for candidate in self._candidates:
            digests = candidate.chain(tokens, unit, tagged)[every - 1 :: every]
            ours = [wire_hash(digest) for digest in digests]
            agreeing = sum(a == b for a, b in zip(ours, told, strict=True))
            if self._is_decided or agreeing == blocks:
                self._note(candidate, blocks, agreeing)
                return True
        self._note_undecided(blocks)
        return True

    def _note(self, candidate: EngineHash, compared: int, agreeing: int) -> None:
        self._candidates, self._is_decided = [candidate], True
        self._recent.append((compared, agreeing))
        metrics.hashes_compared.labels(candidate.algorithm).inc(compared)
        metrics.hashes_disagreeing.labels(candidate.algorithm).inc(compared - agreeing)
        metrics.hash_agreement_ratio.set(self.ratio)

    def _note_undecided(self, compared: int) -> None:
        metrics.hashes_compared.labels(UNKNOWN).inc(compared)
        self._undecided_spans += 1
        if self._undecided_spans == _UNDECIDED_SPANS:
            tried = [candidate.algorithm for candidate in self._candidates]
            log.warning("block hashes agree with no algorithm", extra={"tried": tried})


def _begins_prompt(rows: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Rows of device blocks whose span begins a prompt and has all tokens and extra keys."""
    is_dense = rows["hashes"] * rows["block_tokens"] == rows["tokens"]
    is_told = (rows["extras"] == -1) | (rows["extras"] == rows["hashes"])
    on_device = np.isin(rows["medium"], _DEVICE)
    begins = (rows["has_parent"] == 0) & (rows["hashes"] > 0)
    found: npt.NDArray[np.bool_] = begins & is_dense & is_told & on_device
    return found
