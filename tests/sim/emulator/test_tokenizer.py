"""The emulator's tokenizer is the router's."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from farsight.errors import InvalidField
from services.router import tokenizers
from services.router.chat import parse_chat
from sim.emulator.errors import Refused
from sim.emulator.tokenizer import Tokenizer, load_tokenizer
from tests.fakes.tokenizer import save_tokenizer

TEXTS = ["hello there", "  leading spaces\nand\tlines", "ümläute, 漢字 and 🙂", "<s>not special?"]
CHAT = parse_chat(
    json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]),
    "",
    "",
    True,
    False,
)


async def test_prompts_get_the_routers_ids(tokenizer: Tokenizer) -> None:
    """Texts with special tokens, chats through the template."""
    router = tokenizers.load(tokenizer.source)

    for text in TEXTS:
        assert (await tokenizer.ids(text)).tolist() == router.of_text(text).tolist()
    assert (await tokenizer.ids(CHAT)).tolist() == router.of_chat(CHAT).tolist()


async def test_special_tokens_can_be_left_out(tokenizer: Tokenizer) -> None:
    """The rest stays."""
    with_bos = (await tokenizer.ids("hello")).tolist()

    assert (await tokenizer.ids("hello", add_special_tokens=False)).tolist() == with_bos[1:]


async def test_answers_are_words_that_tokenize_back(tokenizer: Tokenizer) -> None:
    """So the next prompt of a chat holds the same tokens."""
    rng = np.random.default_rng(1)
    ids = rng.choice(tokenizer.answer_ids, 200)

    text = tokenizer.stream().feed(ids.tolist())

    assert re.fullmatch("( [A-Za-z]+){200}", text)
    assert (await tokenizer.ids(text, add_special_tokens=False)).tolist() == ids.tolist()


async def test_text_comes_piece_by_piece_without_special_tokens(tokenizer: Tokenizer) -> None:
    """The end token has no text; halves of a character wait for each other."""
    assert tokenizer.eos_id is not None
    stream = tokenizer.stream()
    smile = (await tokenizer.ids("🙂", add_special_tokens=False)).tolist()

    pieces = [stream.feed([i]) for i in [*smile, tokenizer.eos_id]]

    assert len(smile) > 1
    assert pieces[:-2] == [""] * (len(smile) - 1)
    assert pieces[-2:] == ["🙂", ""]


async def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    """As vLLM does."""
    with pytest.raises(Refused, match="Token id 4096 is out of vocabulary"):
        await tokenizer.ids(np.array([5, 4096], np.uint32))


async def test_a_vocabulary_without_words_still_answers(tmp_path: Path) -> None:
    """Whatever is printable is taken."""
    loaded = load_tokenizer(save_tokenizer(tmp_path), tmp_path)

    assert loaded.answer_ids.size == 6


def test_the_small_tokenizer_is_made_once(tmp_path: Path) -> None:
    """The second start finds it."""
    first = load_tokenizer("", tmp_path)
    made_ns = (tmp_path / "tokenizer" / "tokenizer.json").stat().st_mtime_ns
    second = load_tokenizer("", tmp_path)

    assert first.source == second.source == str(tmp_path / "tokenizer")
    assert (tmp_path / "tokenizer" / "tokenizer.json").stat().st_mtime_ns == made_ns


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    """The field and what was looked for."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(InvalidField, match=r"tokenizer: expected a Hugging Face tokenizer"):
        load_tokenizer(str(tmp_path / "empty"), tmp_path)
