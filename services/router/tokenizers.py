"""Token ids of a prompt, equal to the engine's: the model's own tokenizer and chat template."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np

from farsight.errors import InvalidField, NoEndpoint
from farsight.keys import Tokens
from farsight.log import get_logger
from services.router import metrics
from services.router.chat import Chat, render, wants_parts

log = get_logger(__name__)

RETRY_LOAD_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelTokenizer:
    """A loaded tokenizer; its methods take milliseconds on long prompts: call them in a thread."""

    backend: Any
    vocabulary_size: int
    content_parts: bool

    def of_text(self, text: str) -> Tokens:
        """Ids of a completion prompt, special tokens added."""
        return self._encode("text", text, True)

    def of_chat(self, chat: Chat) -> Tokens:
        """Ids of a chat; the template writes the special tokens itself.

        :raises InvalidField: the template refuses the chat.
        """
        return self._encode("chat", render(self.backend, chat, self.content_parts), False)

    def _encode(self, field: str, text: str, special: bool) -> Tokens:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidField(field, f"Unicode text: {error.reason}") from error
        return np.array(self.backend.encode(text, add_special_tokens=special), np.uint32)


def load(source: str) -> ModelTokenizer:
    """Load from a path or hub id; blocking. What it raises depends on what is wrong there."""
    # Imported late: it takes seconds, and routers that only see token ids never need it.
    from transformers import AutoTokenizer

    backend = AutoTokenizer.from_pretrained(source)
    # The first call drops truncation and padding settings; later ones may share it among threads.
    backend.encode("warm")
    parts = bool(backend.chat_template) and wants_parts(backend)
    return ModelTokenizer(backend, len(backend), parts)


class Tokenizers:
    """Tokenizers by source, each loaded once, in a thread."""

    def __init__(self) -> None:
        self._loading: dict[str, asyncio.Task[ModelTokenizer | str]] = {}

    def preload(self, source: str) -> None:
        """Begin to load, so that the first request need not wait."""
        if source and source not in self._loading:
            self._loading[source] = asyncio.create_task(self._load(source))

    async def _load(self, source: str) -> ModelTokenizer | str:
        """The tokenizer, or why there is none; it is tried again after RETRY_LOAD_S."""
        try:
            return await asyncio.to_thread(load, source)
        except Exception as error:  # a broken file raises whatever its parser raises
            metrics.tokenizers_failed.inc()
            log.warning("tokenizer not loaded", extra={"source": source, "error": repr(error)})
            asyncio.get_running_loop().call_later(RETRY_LOAD_S, self._loading.pop, source, None)
            return repr(error)

    async def get(self, source: str) -> ModelTokenizer:
        """The tokenizer of a source.

        :raises NoEndpoint: it cannot be loaded; prompts may still come as token ids.
        """
        self.preload(source)
        loading = self._loading.get(source)
        if loading is None:
            raise NoEndpoint("the model has no tokenizer; send token_ids")
        tokenizer = await asyncio.shield(loading)
        if isinstance(tokenizer, str):
            raise NoEndpoint(f"the model's tokenizer is not loaded: {tokenizer}")
        return tokenizer

    def vocabulary_size(self, source: str) -> int | None:
        """Size of a vocabulary, None until its tokenizer is loaded."""
        loading = self._loading.get(source)
        if loading is None or not loading.done() or loading.cancelled():
            return None
        tokenizer = loading.result()
        return None if isinstance(tokenizer, str) else tokenizer.vocabulary_size


def check_ids(tokens: Tokens, vocabulary_size: int | None) -> None:
    """Refuse ids outside the vocabulary.

    :raises InvalidField: one is out of range.
    """
    if vocabulary_size is not None and tokens.size and int(tokens.max()) >= vocabulary_size:
        position = int(np.argmax(tokens >= vocabulary_size))
        expected = f"ids below {vocabulary_size}, not {int(tokens[position])} at {position}"
        raise InvalidField("token_ids", expected)
