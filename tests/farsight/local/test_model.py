"""The model that `make model` made: its tokenizer tells chat and completion apart."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from farsight.local import model
from farsight.local.programs import model_dir

# The model is made by the engines' environment.
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the tiny model."""
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(model_dir("tiny"))
    return loaded


def test_special_tokens_put_bos_in_front(tokenizer: PreTrainedTokenizerFast) -> None:
    """A completion prompt starts with BOS; without special tokens it does not."""
    with_bos = tokenizer.encode("import os")
    without = tokenizer.encode("import os", add_special_tokens=False)

    assert with_bos == [tokenizer.bos_token_id, *without]


def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast) -> None:
    """Byte level: nothing is unknown."""
    text = "def f(x):\n    return 'żółć 🐍' * x\t\x07"

    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_chat_template_opens_the_answer_and_adds_no_bos(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Turn marks are single tokens."""
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, return_dict=False
    )

    turn = tokenizer.convert_tokens_to_ids(model.TURN)
    assert ids[0] == turn
    assert ids.count(turn) == 2
    assert tokenizer.decode(ids) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_a_complete_model_of_the_recipe_is_kept() -> None:
    """Made once; asking again changes nothing."""
    path = model_dir("tiny")
    before = (path / "model.safetensors").stat().st_mtime_ns

    assert model.make_model(path, "tiny") is False
    assert (path / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_or_an_unfinished_model_is_not_current(tmp_path: Path) -> None:
    """Only the recipe file, written last, says that a model is complete."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert not model.is_current(tmp_path, "tiny")

    (tmp_path / model.RECIPE_FILE).write_text(model.recipe("demo"))
    assert not model.is_current(tmp_path, "tiny")
    assert model.is_current(tmp_path, "demo")


def test_the_tokenizer_can_be_made_alone(tmp_path: Path) -> None:
    """It is the models' own, and is kept."""
    path = tmp_path / "tokenizer"

    assert model.make_tokenizer(path) is True
    assert model.make_tokenizer(path) is False
    alone = (path / "tokenizer.json").read_bytes()
    assert alone == (model_dir("tiny") / "tokenizer.json").read_bytes()
    assert not (path / "model.safetensors").exists()
