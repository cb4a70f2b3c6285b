"""A tiny word tokenizer with a chat template, as a folder that `from_pretrained` reads."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

STRING_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PARTS_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}[{{ p.text }}]{% endfor %}</s>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SPECIAL = ("<s>", "</s>", "<unk>", "<user>", "<assistant>", "<system>")
WORDS = ("hello", "world", "a", "b", "[", "]")
VOCABULARY = {word: i for i, word in enumerate(SPECIAL + WORDS)}


def save_tokenizer(folder: Path, template: str = STRING_TEMPLATE) -> str:
    """Write the tokenizer and return its path; an empty template writes none."""
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", VOCABULARY["<s>"])]
    )
    words.enable_truncation(max_length=8)
    made = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=list(SPECIAL[3:]),
    )  # fmt: skip
    if template:
        made.chat_template = template
    made.save_pretrained(folder)
    return str(folder)
