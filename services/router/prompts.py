"""The prompt of a request as token ids, checked against the model's bounds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from farsight.errors import InvalidField
from farsight.extras import Item
from farsight.keys import Tokens
from services.router.chat import Chat
from services.router.roster import Endpoint, Roster
from services.router.tokenizers import Tokenizers, check_ids

Prompt = Tokens | str | Chat


@dataclass(frozen=True, slots=True)
class RouteCall:
    """A Route request after its fields were checked."""

    request_id: str
    model: str
    prompt: Prompt
    slo_ttft_ms: float | None
    slo_tpot_ms: float | None
    priority: int
    max_output_tokens: int
    cache_salt: str
    profile: str
    exclude: frozenset[str]
    session_id: str
    """Conversation, user or agent; empty when the client named none."""
    multimodal: tuple[Item, ...] = ()
    """Images, audio and video of a prompt of token ids, by rising offset."""


class Prompts:
    """Turns prompts into token ids with the tokenizer that the endpoints name."""

    def __init__(self, tokenizers: Tokenizers, overrides: Mapping[str, str]) -> None:
        self._tokenizers = tokenizers
        self._overrides = overrides

    def source(self, endpoint: Endpoint) -> str:
        """Where the endpoint's tokenizer lies."""
        return self._overrides.get(endpoint.model, endpoint.tokenizer)

    def preload(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Begin to load the tokenizers of all endpoints."""
        for endpoint in endpoints.values():
            self._tokenizers.preload(self.source(endpoint))

    async def tokens(self, prompt: Prompt, roster: Roster) -> Tokens:
        """Token ids of the prompt.

        :raises InvalidField: it is empty, too long, or has an id outside the vocabulary.
        :raises NoEndpoint: text came and the tokenizer cannot be loaded.
        """
        source = self.source(roster.endpoints[0])
        if isinstance(prompt, np.ndarray):
            field, tokens = "token_ids", prompt
            check_ids(tokens, self._tokenizers.vocabulary_size(source))
        else:
            tokenizer = await self._tokenizers.get(source)
            if isinstance(prompt, str):
                field = "text"
                tokens = await asyncio.to_thread(tokenizer.of_text, prompt)
            else:
                field = "chat"
                tokens = await asyncio.to_thread(tokenizer.of_chat, prompt)
        if not tokens.size:
            raise InvalidField(field, "at least one token")
        longest = roster.max_model_len_tokens
        if longest and tokens.size >= longest:
            raise InvalidField(
                field, f"fewer than {longest} tokens (the model's limit), not {tokens.size}"
            )
        return tokens
