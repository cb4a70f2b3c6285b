"""Turns what clients want into what an engine is given."""

from collections.abc import Mapping

import numpy as np

from farsight.extras import prompt_extras
from farsight.keys import CANONICAL_BLOCK_TOKENS, Keys, Tokens, chain, seed_of
from sim.emulator.answers import Answers
from sim.emulator.errors import unknown_model
from sim.emulator.parse import Ask, room_for
from sim.emulator.run import Adapter, Job
from sim.emulator.settings import EmulatorSettings
from sim.emulator.tokenizer import Tokenizer


class Jobs:
    """Knows the model, its adapters, its tokenizer and its answers; the same for all pods."""

    def __init__(self, settings: EmulatorSettings, tokenizer: Tokenizer) -> None:
        self.model = settings.model
        self.limit_tokens = settings.limit_tokens
        self.tokenizer = tokenizer
        self.adapters: Mapping[str, Adapter] = {
            name: Adapter(name, i) for i, name in enumerate(settings.loras, 1)
        }
        self._answers = Answers(
            tokenizer.answer_ids, tokenizer.eos_id, settings.output_tokens, settings.seed
        )
        # Seeded as the sidecar seeds its mirror, so that both can be compared.
        self._seeds = {
            name: seed_of(settings.model, name, CANONICAL_BLOCK_TOKENS)
            for name in ("", *settings.loras)
        }

    def adapter(self, model: str | None) -> Adapter | None:
        """The adapter of that name; None for the model itself, which need not be named.

        :raises Refused: there is neither.
        """
        if not model or model == self.model:
            return None
        if model not in self.adapters:
            raise unknown_model(model, ", ".join((self.model, *self.adapters)))
        return self.adapters[model]

    async def job(self, ask: Ask) -> Job:
        """The job that serves a request.

        :raises Refused: the request cannot be served.
        """
        adapter = self.adapter(ask.model)
        prompt = await self.tokenizer.ids(ask.prompt, ask.add_special_tokens)
        most = room_for(ask, prompt, self.limit_tokens)
        answer, reason = self._answers.to(prompt, most, ask.min_tokens, ask.ignore_eos)
        keys = self._keys(np.concatenate((prompt, answer)), adapter, ask.cache_salt)
        return Job(prompt, answer, reason, keys, adapter, ask.cache_salt)

    def _keys(self, tokens: Tokens, adapter: Adapter | None, cache_salt: str) -> Keys:
        seed = self._seeds[adapter.name if adapter else ""]
        return chain(
            seed,
            tokens,
            CANONICAL_BLOCK_TOKENS,
            prompt_extras(cache_salt, (), CANONICAL_BLOCK_TOKENS),
        )
