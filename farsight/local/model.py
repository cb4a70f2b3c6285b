"""Makes a small random Llama and its tokenizer, or the tokenizer alone, without a download.

Models are made in the engine environment (`python -m farsight.local.model --out DIR --size demo`),
so it imports nothing of Farsight. The same recipe gives the same files.
"""

import argparse
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

VOCABULARY = 4096
CONTEXT_TOKENS = 8192
CORPUS_BYTES = 4_000_000
SEED = 20
BOS, EOS, TURN, PAD = "<s>", "<|im_end|>", "<|im_start|>", "<pad>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
RECIPE_FILE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions of a model; heads are `hidden / heads` wide."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int


SIZES = {
    "tiny": Size(hidden=64, intermediate=128, layers=2, heads=2, kv_heads=2),
    "demo": Size(hidden=384, intermediate=768, layers=3, heads=6, kv_heads=2),
}


def recipe(size: str | None) -> str:
    """All that decides what is in the files, as JSON; a change of it rebuilds a model.

    :param size: None for a tokenizer without a model.
    """
    return json.dumps(
        {
            "version": 1,
            "size": asdict(SIZES[size]) if size else None,
            "vocabulary": VOCABULARY,
            "context_tokens": CONTEXT_TOKENS,
            "corpus_bytes": CORPUS_BYTES,
            "seed": SEED,
            "chat_template": CHAT_TEMPLATE,
        },
        indent=1,
    )


def is_current(path: Path, size: str | None) -> bool:
    """The directory holds all that today's recipe makes."""
    marker = path / RECIPE_FILE
    return marker.is_file() and marker.read_text() == recipe(size)


def corpus() -> Iterator[str]:
    """Python's own library, file by file, up to `CORPUS_BYTES` characters."""
    left = CORPUS_BYTES
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")[:left]
        left -= len(text)
        yield text
        if left <= 0:
            return


def save_tokenizer(path: Path) -> None:
    """Train a byte-level BPE; encoding with special tokens puts BOS in front, the chat template
    does not."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, TURN, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[TURN],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(path)


def save_weights(path: Path, size: Size) -> None:
    """Random bfloat16 weights from a fixed seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=3,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)


@contextmanager
def _making(path: Path, size: str | None) -> Iterator[Path]:
    """A directory beside `path` that takes its place at the end, so an interrupted run leaves
    none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        (unfinished / RECIPE_FILE).write_text(recipe(size))
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def make_model(path: Path, size: str) -> bool:
    """Make the model unless the directory holds it already; True when it was made."""
    if is_current(path, size):
        return False
    with _making(path, size) as unfinished:
        save_tokenizer(unfinished)
        save_weights(unfinished, SIZES[size])
    return True


def make_tokenizer(path: Path) -> bool:
    """Make the models' tokenizer alone, in about 3 s, unless the directory holds it already."""
    if is_current(path, None):
        return False
    with _making(path, None) as unfinished:
        save_tokenizer(unfinished)
    return True


def main() -> None:
    """`--out DIR --size tiny|demo`."""
    parser = argparse.ArgumentParser(prog="python -m farsight.local.model", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory of the model")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    arguments = parser.parse_args()
    made = make_model(arguments.out, arguments.size)
    sys.stdout.write(f"{arguments.out}: {'made' if made else 'up to date'}\n")


if __name__ == "__main__":
    main()
