"""A multi-turn workload with shared prefixes: groups share a system prompt, users share nothing.

The shape is inference-perf's `shared_prefix` (groups x users, system, question and output lengths),
made of seeded random words, so that the same seed gives the same prompts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

_SYLLABLES = ("ba", "de", "ki", "lo", "mu", "na", "po", "ra", "se", "ti", "vo", "zu", "gen", "tor")


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """Sizes in words; the demo's tokenizer makes about two tokens of a word."""

    groups: int = 9
    users_per_group: int = 3
    turns: int = 3
    system_words: int = 420
    question_words: int = 24
    output_tokens: int = 12
    seed: int = 7

    @property
    def requests(self) -> int:
        """Requests of a whole run."""
        return self.groups * self.users_per_group * self.turns


@dataclass(slots=True)
class Session:
    """One user's conversation; each turn appends question and answer."""

    name: str
    messages: list[dict[str, Any]]
    questions: list[str]
    output_tokens: int
    turn: int = 0

    @property
    def done(self) -> bool:
        """Every question has been answered."""
        return self.turn == len(self.questions)

    def ask(self) -> dict[str, Any]:
        """The OpenAI chat request of the next turn."""
        self.messages.append({"role": "user", "content": self.questions[self.turn]})
        return {
            "model": "",
            "messages": list(self.messages),
            "max_tokens": self.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }

    def answer(self, text: str) -> None:
        """Append the answer."""
        self.messages.append({"role": "assistant", "content": text})
        self.turn += 1


def sessions(spec: WorkloadSpec) -> list[Session]:
    """Fresh sessions, groups interleaved, so that neighbours rarely share a prefix."""
    random = Random(spec.seed)
    systems = [words(random, spec.system_words) for _ in range(spec.groups)]
    made = [
        Session(
            f"{user}-{group}",
            [{"role": "system", "content": systems[group]}],
            [words(random, spec.question_words) for _ in range(spec.turns)],
            spec.output_tokens,
        )
        for user in range(spec.users_per_group)
        for group in range(spec.groups)
    ]
    random.shuffle(made)
    return made


def words(random: Random, count: int) -> str:
    """Random words, separated by spaces."""
    return " ".join(_words(random, count))


def _words(random: Random, count: int) -> Iterator[str]:
    for _ in range(count):
        yield "".join(random.choice(_SYLLABLES) for _ in range(random.randint(1, 3)))
