"""The small tokenizer that the emulator makes when it is given none, made once."""

import pytest

from sim.emulator import answers
from sim.emulator.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Byte-level, 4,096 tokens, with a chat template."""
    answers.warm()
    return load_tokenizer("", tmp_path_factory.mktemp("emulator"))
