"""What an emulated model answers: words by seed, always the same to one prompt."""

import math
from dataclasses import dataclass

import numpy as np

from farsight.keys import Tokens, chain
from sim.emulator.run import FinishReason
from sim.tokens import FIRST_TOKEN, Piece, tokens_of


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers from some token ids; those that end by themselves have `mean_tokens` on average.

    Their lengths are geometric, as if each token were the last with the same probability.
    """

    ids: Tokens
    eos_id: int | None
    mean_tokens: int
    seed: int

    def to(
        self, prompt: Tokens, most: int, least: int, ignores_eos: bool
    ) -> tuple[Tokens, FinishReason]:
        """The answer to a prompt, of `least` to `most` tokens, and why it ends."""
        digest = int(chain(self.seed, prompt, prompt.size)[0])
        eos_id = None if ignores_eos else self.eos_id
        length = most + 1 if eos_id is None else max(least, self._own_length(digest))
        drawn = tokens_of([Piece(digest, min(length, most))])
        answer: Tokens = self.ids[(drawn - FIRST_TOKEN) % self.ids.size]
        if eos_id is None or length > most:
            return answer, "length"
        answer[-1] = eos_id
        return answer, "stop"

    def _own_length(self, digest: int) -> int:
        """Where an answer with this digest ends."""
        if self.mean_tokens == 1:
            return 1
        uniform = ((digest >> 11) + 0.5) / 2**53
        return 1 + int(math.log(uniform) / math.log1p(-1 / self.mean_tokens))


def warm() -> None:
    """Compile or load the kernels."""
    tokens_of([Piece(0, 1)])
    chain(0, np.zeros(1, np.uint32), 1)
