"""Answers are a function of seed and prompt."""

import numpy as np
import pytest

from sim.emulator.answers import Answers

IDS = np.arange(100, 140, dtype=np.uint32)
EOS = 2


def prompt(number: int) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """A prompt of its own."""
    return np.array([number, 7, 8], np.uint32)


def test_the_same_prompt_gets_the_same_answer() -> None:
    """Another prompt, or another seed, gets another one; all ids are of the given ones."""
    answers = Answers(IDS, EOS, 100, seed=1)
    first, reason = answers.to(prompt(1), 50, 0, True)
    again, _ = answers.to(prompt(1), 50, 0, True)
    other, _ = answers.to(prompt(2), 50, 0, True)
    reseeded, _ = Answers(IDS, EOS, 100, seed=2).to(prompt(1), 50, 0, True)

    assert (first.size, reason) == (50, "length")
    assert np.isin(first, IDS).all()
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert first.tolist() != reseeded.tolist()


def test_a_longer_answer_begins_with_the_shorter_one() -> None:
    """As with a model that always takes the likeliest token."""
    answers = Answers(IDS, None, 100, seed=1)

    short, _ = answers.to(prompt(1), 10, 0, False)
    long, _ = answers.to(prompt(1), 20, 0, False)

    assert long[:10].tolist() == short.tolist()


def test_answers_end_by_themselves_around_their_mean() -> None:
    """With the end token last, unless the limit comes first."""
    answers = Answers(IDS, EOS, 50, seed=1)
    made = [answers.to(prompt(i), 100_000, 0, False) for i in range(2000)]

    assert {reason for _, reason in made} == {"stop"}
    assert all(answer[-1] == EOS for answer, _ in made)
    assert np.mean([answer.size for answer, _ in made]) == pytest.approx(50, rel=0.1)
    limited = [answers.to(prompt(i), 20, 0, False) for i in range(100)]
    assert {reason for _, reason in limited} == {"stop", "length"}
    assert all(
        answer.size == 20 and EOS not in answer for answer, why in limited if why == "length"
    )


def test_an_answer_has_at_least_the_tokens_asked_for() -> None:
    """`min_tokens` moves the end."""
    answers = Answers(IDS, EOS, 1, seed=1)

    assert answers.to(prompt(1), 30, 0, False)[0].tolist() == [EOS]
    assert answers.to(prompt(1), 30, 10, False)[0].size == 10
