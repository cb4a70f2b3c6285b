"""Token ids of a prompt, equal to the engine's: the model's own tokenizer and chat template."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField, NoEndpoint
from farsight.keys import Tokens
from farsight.log import get_logger
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
        return _array(self.backend.encode(text, add_special_tokens=True))

    def of_chat(self, chat: Chat) -> Tokens:
        """Ids of a chat; the template writes the special tokens itself.

        :raises InvalidField: the template refuses the chat.
        """
        text = render(self.backend, chat, self.content_parts)
        return _array(self.backend.encode(text, add_special_tokens=False))


def _array(ids: list[int]) -> npt.NDArray[np.uint32]:
    return np.array(ids, np.uint32)


def load(source: str) -> ModelTokenizer:
    """Load from a path or hub id; blocking. Raises OSError or ValueError when there is none."""
    # Imported late: it takes seconds, and routers that only see token ids never need it.
    from transformers import AutoTokenizer

    backend = AutoTokenizer.from_pretrained(source)
    parts = bool(backend.chat_template) and wants_parts(backend)
    return ModelTokenizer(backend, len(backend), parts)


class Tokenizers:
    """Tokenizers by source, each loaded once, in a thread."""

    def __init__(self) -> None:
        self._loading: dict[str, asyncio.Task[ModelTokenizer]] = {}

    def preload(self, source: str) -> None:
        """Begin to load, so that the first request need not wait."""
        if source and source not in self._loading:
            self._loading[source] = asyncio.create_task(asyncio.to_thread(load, source))
            self._loading[source].add_done_callback(lambda task: self._loaded(source, task))

    def _loaded(self, source: str, task: "asyncio.Task[ModelTokenizer]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("tokenizer not loaded", extra={"source": source, "error": str(error)})
            asyncio.get_running_loop().call_later(RETRY_LOAD_S, self._loading.pop, source, None)

    async def get(self, source: str) -> ModelTokenizer:
        """The tokenizer of a source.

        :raises NoEndpoint: it cannot be loaded; prompts may still come as token ids.
        """
        self.preload(source)
        loading = self._loading.get(source)
        if loading is None:
            raise NoEndpoint("the model has no tokenizer; send token_ids")
        try:
            return await asyncio.shield(loading)
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise NoEndpoint(f"the model's tokenizer is not loaded: {error}") from error

    def vocabulary_size(self, source: str) -> int | None:
        """Size of a vocabulary, None until its tokenizer is loaded."""
        loading = self._loading.get(source)
        if loading is None or not loading.done() or loading.cancelled() or loading.exception():
            return None
        return loading.result().vocabulary_size


def check_ids(tokens: Tokens, vocabulary_size: int | None) -> None:
    """Refuse ids outside the vocabulary.

    :raises InvalidField: one is out of range.
    """
    if vocabulary_size is not None and tokens.size and int(tokens.max()) >= vocabulary_size:
        position = int(np.argmax(tokens >= vocabulary_size))
        expected = f"ids below {vocabulary_size}, not {int(tokens[position])} at {position}"
        raise InvalidField("token_ids", expected)
