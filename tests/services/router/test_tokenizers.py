"""Tokenizers: ids equal to the engine's, loaded once, in threads."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from farsight.errors import InvalidField, NoEndpoint
from services.router import metrics, tokenizers
from services.router.chat import Chat
from services.router.tokenizers import Tokenizers, check_ids, load
from tests.fakes.tokenizer import VOCABULARY, save_tokenizer


def ids(*words: str) -> list[int]:
    """Ids of words."""
    return [VOCABULARY[word] for word in words]


def hello(content: str = "hello world") -> Chat:
    """A chat of one message."""
    return Chat(({"role": "user", "content": content},), None, {}, True, False)


def test_a_text_gets_special_tokens_and_a_chat_only_those_of_its_template(tmp_path: Path) -> None:
    """One beginning-of-sequence token at most."""
    tokenizer = load(save_tokenizer(tmp_path))

    text, chat = tokenizer.of_text("hello world"), tokenizer.of_chat(hello())

    assert text.tolist() == ids("<s>", "hello", "world")
    assert chat.tolist() == ids("<user>", "hello", "world", "</s>", "<assistant>")
    assert text.dtype == np.uint32


def test_a_template_may_write_the_beginning_itself(tmp_path: Path) -> None:
    """It is not doubled."""
    template = "<s>{% for m in messages %}{{ m.content }}{% endfor %}"

    tokenizer = load(save_tokenizer(tmp_path, template))

    assert tokenizer.of_chat(hello()).tolist() == ids("<s>", "hello", "world")


def test_a_truncation_setting_of_the_file_is_not_applied(tmp_path: Path) -> None:
    """The engine tokenises the whole prompt, however long."""
    tokenizer = load(save_tokenizer(tmp_path))

    assert tokenizer.of_text("hello " * 100).size == 101


async def test_threads_may_share_a_tokenizer(tmp_path: Path) -> None:
    """Prompts are tokenised at the same time; the first calls as well."""
    tokenizer = load(save_tokenizer(tmp_path))
    texts = ["hello world " * (i + 1) for i in range(64)]

    found = await asyncio.gather(*(asyncio.to_thread(tokenizer.of_text, t) for t in texts))

    assert [f.size for f in found] == [2 * (i + 1) + 1 for i in range(64)]


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    """JSON can spell half a surrogate pair."""
    tokenizer = load(save_tokenizer(tmp_path))
    half = json.loads('"\\ud800"')

    with pytest.raises(InvalidField, match="text: expected Unicode"):
        tokenizer.of_text(half)
    with pytest.raises(InvalidField, match="chat: expected Unicode"):
        tokenizer.of_chat(hello(half))


async def test_a_tokenizer_is_loaded_once_and_then_bounds_ids(tmp_path: Path) -> None:
    """However many requests wait for it; before that, ids are not bounded."""
    source = save_tokenizer(tmp_path)
    tokenizers = Tokenizers()
    before = tokenizers.vocabulary_size(source)

    tokenizers.preload(source)
    found = await asyncio.gather(*(tokenizers.get(source) for _ in range(5)))

    assert before is None
    assert len({id(tokenizer) for tokenizer in found}) == 1
    assert tokenizers.vocabulary_size(source) == len(VOCABULARY)


async def test_without_a_source_token_ids_are_the_way() -> None:
    """The answer says so."""
    with pytest.raises(NoEndpoint, match="send token_ids"):
        await Tokenizers().get("")
    assert Tokenizers().vocabulary_size("") is None


@pytest.mark.parametrize("content", [None, b"{", b'{"model": {"type": "Strange"}}'])
async def test_a_broken_source_is_unavailable_and_tried_again(
    tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted; once it is repaired, the next attempt succeeds."""
    monkeypatch.setattr(tokenizers, "RETRY_LOAD_S", 0.2)
    folder = tmp_path / "tokenizer"
    save_tokenizer(folder)
    good = (folder / "tokenizer.json").read_bytes()
    if content is None:
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "tokenizer.json").write_bytes(content)
    before = metrics.tokenizers_failed._value.get()
    loaded = Tokenizers()

    with pytest.raises(NoEndpoint, match="tokenizer is not loaded"):
        await loaded.get(str(folder))
    size = loaded.vocabulary_size(str(folder))
    (folder / "tokenizer.json").write_bytes(good)
    await asyncio.sleep(0.3)

    assert size is None
    assert (await loaded.get(str(folder))).vocabulary_size == len(VOCABULARY)
    assert metrics.tokenizers_failed._value.get() == before + 1


@pytest.mark.parametrize(
    ("given", "size", "bad"),
    [([0, 9], 10, None), ([0, 10], 10, "10 at 1"), ([2**32 - 1], 10, "4294967295 at 0"),
     ([99], None, None), ([], 10, None)],
)  # fmt: skip
def test_ids_outside_the_vocabulary_are_refused(
    given: list[int], size: int | None, bad: str | None
) -> None:
    """The first one and its position are named; an unknown size refuses nothing."""
    given_ids = np.array(given, np.uint32)
    if bad is None:
        check_ids(given_ids, size)
        return

    with pytest.raises(InvalidField, match=f"token_ids: expected ids below 10, not {bad}"):
        check_ids(given_ids, size)
