"""The tokenizer of the emulated model: the router's own, and the text of generated tokens."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farsight.errors import InvalidField
from farsight.keys import Tokens
from farsight.local.model import make_tokenizer
from services.router import tokenizers
from services.router.chat import Chat
from sim.emulator.errors import Refused
from sim.emulator.parse import Prompt

_LEAST_ANSWER_IDS = 32
_WORD = re.compile(r" [A-Za-z]+")
_PRINTABLE = re.compile(r"[ -~]+")


class Tokenizer:
    """A fast tokenizer of Hugging Face's library.

    `answer_ids` are the ids that answers consist of: words that stay the same tokens when their
    text is tokenized again, so that a chat's next prompt begins with the blocks of this one.
    """

    def __init__(self, source: str, loaded: tokenizers.ModelTokenizer) -> None:
        self.source = source
        self._loaded = loaded
        self._fast: Any = getattr(loaded.backend, "backend_tokenizer", None)
        if self._fast is None:
            raise InvalidField("tokenizer", f"a fast tokenizer, which {source!r} is not")
        self.vocabulary_size = loaded.vocabulary_size
        self.eos_id: int | None = loaded.backend.eos_token_id
        self.answer_ids = self._answer_ids()

    def _answer_ids(self) -> Tokens:
        special = set(self._loaded.backend.all_special_ids)
        ids = [i for i in range(self.vocabulary_size) if i not in special]
        texts = dict(zip(ids, self._fast.decode_batch([[i] for i in ids]), strict=True))
        words = [i for i, text in texts.items() if _WORD.fullmatch(text)]
        again = self._fast.encode_batch([texts[i] for i in words], add_special_tokens=False)
        words = [i for i, made in zip(words, again, strict=True) if made.ids == [i]]
        if len(words) < _LEAST_ANSWER_IDS:
            words = [i for i, text in texts.items() if _PRINTABLE.fullmatch(text)] or ids
        return np.array(words, np.uint32)

    async def ids(self, prompt: Prompt, add_special_tokens: bool = True) -> Tokens:
        """Token ids of a prompt.

        :raises Refused: the chat template refuses it, or an id is outside the vocabulary.
        """
        if isinstance(prompt, np.ndarray):
            if int(prompt.max()) >= self.vocabulary_size:
                raise Refused(f"Token id {int(prompt.max())} is out of vocabulary")
            return prompt
        try:
            if isinstance(prompt, Chat):
                return await asyncio.to_thread(self._loaded.of_chat, prompt)
            if add_special_tokens:
                return await asyncio.to_thread(self._loaded.of_text, prompt)
            return await asyncio.to_thread(self._plain, prompt)
        except InvalidField as error:
            raise Refused(str(error)) from error

    def _plain(self, text: str) -> Tokens:
        return np.array(self._loaded.backend.encode(text, add_special_tokens=False), np.uint32)

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Tokens as the vocabulary writes them."""
        return list(self._loaded.backend.convert_ids_to_tokens(list(ids)))

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids, special ones included; unknown ones have none."""
        return str(self._fast.decode(list(ids), skip_special_tokens=False))

    def stream(self) -> "TextStream":
        """For the text of one answer."""
        return TextStream(self._fast)


class TextStream:
    """Turns the tokens of one answer into text as they come; special tokens have none."""

    def __init__(self, fast: Any) -> None:
        # Imported late, like transformers: a process that only reads settings needs neither.
        from tokenizers.decoders import DecodeStream

        self._fast = fast
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, ids: Sequence[int]) -> str:
        """Text that has become certain with further tokens."""
        return "".join(self._stream.step(self._fast, i) or "" for i in ids)


def load_tokenizer(source: str, work_dir: Path) -> Tokenizer:
    """The named tokenizer; without a name, a small byte-level one that is kept in `work_dir`.

    :raises InvalidField: it cannot be loaded.
    """
    if not source:
        made = work_dir / "tokenizer"
        make_tokenizer(made)
        source = str(made)
    # Sidecar and router open it at the path that the pod reports.
    path = Path(source)
    source = str(path.resolve()) if path.exists() else source
    try:
        loaded = tokenizers.load(source)
    except Exception as error:  # a broken file raises whatever its parser raises
        raise InvalidField(
            "tokenizer", f"a Hugging Face tokenizer, not {source!r}: {error}"
        ) from error
    return Tokenizer(source, loaded)
