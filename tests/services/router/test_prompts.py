"""Prompts against the bounds of their model."""

from pathlib import Path

import pytest

from farsight.errors import InvalidField, NoEndpoint
from services.router.chat import Chat
from services.router.fleet import Fleet
from services.router.prompts import Prompts
from services.router.tokenizers import Tokenizers
from tests.fakes.tokenizer import VOCABULARY, save_tokenizer
from tests.services.router.given import MODEL, record, roster, stored, tokens

NOWHERE = roster(record("a", max_model_len_tokens=100))


def prompts(**overrides: str) -> Prompts:
    """Prompts with tokenizers of their own."""
    return Prompts(Tokenizers(), overrides)


async def test_token_ids_need_no_tokenizer() -> None:
    """They are taken as they are."""
    assert (await prompts().tokens(tokens(99), NOWHERE)).size == 99


async def test_text_without_a_tokenizer_is_unavailable() -> None:
    """It is the fleet's fault, not the client's."""
    with pytest.raises(NoEndpoint, match="send token_ids"):
        await prompts().tokens("hello", NOWHERE)


@pytest.mark.parametrize(
    ("count", "named"),
    [(0, "token_ids: expected at least one token"), (100, "fewer than 100 tokens.*not 100")],
)
async def test_a_prompt_that_is_empty_or_too_long_is_refused(count: int, named: str) -> None:
    """One output token must fit as well."""
    with pytest.raises(InvalidField, match=named):
        await prompts().tokens(tokens(count), NOWHERE)


async def test_text_and_chat_are_bounded_in_tokens(tmp_path: Path) -> None:
    """The field that was too long is named."""
    source = save_tokenizer(tmp_path)
    engines = roster(record("a", tokenizer=source, max_model_len_tokens=6))
    made = prompts()
    chat = Chat(({"role": "user", "content": "hello " * 9},), None, {}, True, False)

    assert (await made.tokens("hello", engines)).size == 2
    with pytest.raises(InvalidField, match=r"text: expected fewer than 6 tokens.*not 10"):
        await made.tokens("hello " * 9, engines)
    with pytest.raises(InvalidField, match="chat: expected fewer than 6"):
        await made.tokens(chat, engines)


async def test_ids_are_checked_once_the_vocabulary_is_known(tmp_path: Path) -> None:
    """From the endpoint's own tokenizer."""
    engines = roster(record("a", tokenizer=save_tokenizer(tmp_path)))
    made = prompts()
    await made.tokens("hello", engines)

    with pytest.raises(InvalidField, match=f"ids below {len(VOCABULARY)}"):
        await made.tokens(tokens(len(VOCABULARY) + 1), engines)


async def test_settings_override_what_the_record_names(tmp_path: Path) -> None:
    """A path that only exists in the engine's container is replaced."""
    engines = roster(record("a", tokenizer="/engine/only"))
    made = prompts(**{MODEL: save_tokenizer(tmp_path)})

    assert (await made.tokens("hello", engines)).size == 2


async def test_tokenizers_are_loaded_when_endpoints_come(tmp_path: Path) -> None:
    """The first request does not wait; an endpoint without one is no problem."""
    source = save_tokenizer(tmp_path)
    fleet = Fleet(2.0)
    fleet.update(stored(record("a", tokenizer=source), record("b")))
    loading = Tokenizers()

    Prompts(loading, {}).preload(fleet.endpoints)

    assert (await loading.get(source)).vocabulary_size == len(VOCABULARY)
