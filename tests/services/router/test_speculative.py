"""Prompts on their way: what they stand for, and when they are over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farsight.keys import Keys, chain
from services.router import metrics, speculative
from services.router.speculative import SETTLE_S, SpeculativePrompts
from tests.services.router.given import Clock, tokens

IDS = ("a", "b", "c")


def prompt(blocks: int, start: int = 0) -> Keys:
    """Keys of a prompt; equal starts share their head."""
    return chain(1, tokens(blocks * 16, start), 16)


def blocks(
    prompts: SpeculativePrompts,
    keys: Keys,
    ids: Sequence[str] = IDS,
    indexed: Sequence[int] = (0, 0, 0),
    exact: bool = True,
) -> list[int]:
    """What each endpoint holds or is about to hold."""
    is_exact = np.full(len(ids), exact)
    found = prompts.extend(keys, ids, np.array(indexed[: len(ids)], np.int64), is_exact)
    return [int(count) for count in found]


def counted(why: str) -> float:
    """Prompts that were over for the reason, so far."""
    return float(metrics.speculative_prompts.labels(why)._value.get())


def test_a_prompt_stands_for_the_blocks_that_another_one_shares_with_it() -> None:
    """On its endpoint, and the longest of several; endpoints in any order."""
    prompts = SpeculativePrompts(2.0, Clock())
    prompts.add("a", prompt(10))
    prompts.add("b", prompt(4))
    prompts.add("b", prompt(30, start=7))
    prompts.add("b", np.concatenate([prompt(6), prompt(6, start=9)]))

    assert blocks(prompts, prompt(20)) == [10, 6, 0]
    assert blocks(prompts, prompt(3)) == [3, 3, 0]
    assert blocks(prompts, prompt(20), ("c", "b", "nobody")) == [0, 6, 0]
    assert blocks(prompts, prompt(5, start=99)) == [0, 0, 0]
    assert blocks(prompts, prompt(0)) == [0, 0, 0]


def test_an_index_that_knows_more_is_believed() -> None:
    """Prompts on their way only add."""
    prompts = SpeculativePrompts(2.0, Clock())
    prompts.add("a", prompt(10))

    assert blocks(prompts, prompt(20), indexed=(3, 5, 0)) == [10, 5, 0]
    assert blocks(prompts, prompt(20), indexed=(15, 5, 0)) == [15, 5, 0]


def test_it_is_over_after_its_time() -> None:
    """Whether or not anybody looked; one of another replica, whose end is not heard of, sooner."""
    clock = Clock()
    prompts = SpeculativePrompts(2.0, clock)
    before = counted("expired")
    prompts.add("a", prompt(10), "d1")
    clock.now_s += 1.9
    prompts.add("a", prompt(5), "d2")
    prompts.add("b", prompt(7))

    in_time = blocks(prompts, prompt(20))
    clock.now_s += 0.2
    late = blocks(prompts, prompt(20))
    prompts.add("c", prompt(1), "d3")
    clock.now_s += 0.4

    assert (in_time, late) == ([10, 7, 0], [5, 7, 0])
    assert blocks(prompts, prompt(20)) == [5, 0, 1]
    assert len(prompts) == 2
    assert counted("expired") == before + 1


def test_it_is_over_when_an_exact_answer_shows_all_of_it() -> None:
    """Later evictions are seen at once then."""
    prompts = SpeculativePrompts(2.0, Clock())
    before = counted("covered")
    prompts.add("a", prompt(10))

    shown = blocks(prompts, prompt(20), indexed=(10, 0, 0))
    evicted = blocks(prompts, prompt(20), indexed=(2, 0, 0))

    assert (shown, evicted) == ([10, 0, 0], [2, 0, 0])
    assert len(prompts) == 0
    assert counted("covered") == before + 1


def test_answers_that_show_nothing_of_it_end_nothing() -> None:
    """Inexact ones, those for other prompts, and those that show none of its blocks."""
    prompts = SpeculativePrompts(2.0, Clock())
    prompts.add("a", prompt(10))

    for keys, indexed, exact in (
        (prompt(20), 10, False),
        (prompt(20, start=5), 10, True),
        (prompt(20), 0, True),
    ):
        blocks(prompts, keys, indexed=(indexed, 0, 0), exact=exact)

    assert blocks(prompts, prompt(20)) == [10, 0, 0]


def test_blocks_that_were_shown_are_the_indexs_from_then_on() -> None:
    """Their eviction is seen, and the rest of the prompt, which lies behind them, is over."""
    prompts = SpeculativePrompts(2.0, Clock())
    before = counted("evicted")
    prompts.add("a", prompt(10))

    partly = blocks(prompts, prompt(20), indexed=(4, 0, 0))
    again = blocks(prompts, prompt(20), indexed=(6, 0, 0))
    head_evicted = blocks(prompts, prompt(5), indexed=(2, 0, 0))
    before_the_rest_is_asked_for = len(prompts)
    rest = blocks(prompts, prompt(20), indexed=(2, 0, 0))

    assert (partly, again) == ([10, 0, 0], [10, 0, 0])
    assert (head_evicted, before_the_rest_is_asked_for) == ([2, 0, 0], 1)
    assert (rest, len(prompts)) == ([2, 0, 0], 0)
    assert counted("evicted") == before + 1


def test_it_is_over_moments_after_its_request_has_begun() -> None:
    """The engine's event was out before the first token."""
    clock = Clock()
    prompts = SpeculativePrompts(2.0, clock)
    prompts.add("a", prompt(10), "d1")
    prompts.add("b", prompt(10), "d2")

    prompts.begun("d1")
    prompts.begun("nobody")
    at_once = blocks(prompts, prompt(20))
    clock.now_s += SETTLE_S

    assert at_once == [10, 10, 0]
    assert blocks(prompts, prompt(20)) == [0, 10, 0]


def test_a_request_that_goes_elsewhere_takes_its_prompt_along() -> None:
    """Once; unknown and finished decisions have none."""
    clock = Clock()
    prompts = SpeculativePrompts(2.0, clock)
    prompts.add("a", prompt(10), "d1")
    prompts.add("a", prompt(4), "d2")

    taken = prompts.withdraw("d1")
    again = prompts.withdraw("d1")
    left = blocks(prompts, prompt(20))
    prompts.add("b", prompt(10), "d1")

    assert taken is not None
    assert taken.tolist() == prompt(10).tolist()
    assert (again, prompts.withdraw("nobody")) == (None, None)
    assert (left, blocks(prompts, prompt(20))) == ([4, 0, 0], [4, 10, 0])


def test_what_is_on_its_way_to_an_endpoint_that_fails_or_leaves_is_over() -> None:
    """Its alone; the endpoint may come back, and another one may take its place."""
    prompts = SpeculativePrompts(2.0, Clock())
    for endpoint_id in IDS:
        prompts.add(endpoint_id, prompt(10))

    prompts.fail("a")
    prompts.forget("b")
    prompts.fail("nobody")
    prompts.forget("nobody")
    gone = blocks(prompts, prompt(20))
    prompts.add("d", prompt(3))
    prompts.add("a", prompt(2))

    assert gone == [0, 0, 10]
    assert blocks(prompts, prompt(20), ("a", "b", "c", "d"), (0, 0, 0, 0)) == [2, 0, 10, 3]


def test_no_time_switches_it_off() -> None:
    """Nothing is kept."""
    prompts = SpeculativePrompts(0.0, Clock())

    prompts.add("a", prompt(10))

    assert blocks(prompts, prompt(20)) == [0, 0, 0]
    assert len(prompts) == 0


@dataclass(slots=True, eq=False)
class Entry:
    """A prompt as the oracle keeps it."""

    expires_s: float
    endpoint_id: str
    keys: tuple[int, ...]
    decision_id: str
    seen: int = 0


class Oracle:
    """A list that is looked through."""

    def __init__(self, lifetime_s: float, clock: Clock) -> None:
        self.lifetime_s = lifetime_s
        self.clock = clock
        self.entries: list[Entry] = []

    def drop(self, over: Callable[[Entry], bool]) -> None:
        """Forget the entries that are over."""
        self.entries = [entry for entry in self.entries if not over(entry)]

    def extend(self, keys: Keys, indexed: Sequence[int], is_exact: Sequence[bool]) -> list[int]:
        """As the kernel, one comparison after the other."""
        wanted = tuple(keys.tolist())
        self.drop(lambda entry: entry.expires_s <= self.clock())
        best = list(indexed)
        for entry in list(self.entries):
            row = IDS.index(entry.endpoint_id)
            pairs = zip(entry.keys, wanted, strict=False)
            differs = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
            shared = min(len(entry.keys), len(wanted)) if differs is None else differs
            if is_exact[row]:
                if shared <= entry.seen:
                    continue
                if indexed[row] < entry.seen:
                    self.entries.remove(entry)
                    continue
                entry.seen = min(indexed[row], shared)
                if entry.seen == len(entry.keys):
                    self.entries.remove(entry)
            best[row] = max(best[row], shared)
        return best


# Few tokens and short blocks, so that prompts share heads of every length.
prompts_of_tokens = st.lists(st.integers(0, 1), min_size=1, max_size=9).map(
    lambda ids: chain(1, np.array(ids, np.uint32), 1)
)
endpoint_ids = st.sampled_from(IDS)
decision_ids = st.integers(0, 30).map(str)
steps = st.one_of(
    st.tuples(st.just("add"), endpoint_ids, prompts_of_tokens),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.1, 0.7]), st.none()),
    st.tuples(st.sampled_from(["withdraw", "begun"]), decision_ids, st.none()),
    st.tuples(st.sampled_from(["fail", "forget"]), endpoint_ids, st.none()),
    st.tuples(
        st.just("look"),
        prompts_of_tokens,
        st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=3, max_size=3),
    ),
)  # fmt: skip


def compare(
    program: list[tuple[object, ...]], check: Callable[[list[int], list[int]], None]
) -> None:
    """Run a program on both; `check` gets what the prompts and what the oracle say."""
    clock = Clock()
    prompts, oracle = SpeculativePrompts(2.0, clock), Oracle(2.0, clock)
    for number, (step, one, two) in enumerate(program):
        if step == "add":
            prompts.add(str(one), np.array(two, np.uint64), str(number))
            keys = tuple(np.array(two, np.uint64).tolist())
            oracle.entries.append(Entry(clock() + 2.0, str(one), keys, str(number)))
        elif step == "wait":
            clock.now_s += float(one)  # type: ignore[arg-type] # as drawn
        elif step == "begun":
            prompts.begun(str(one))
            for entry in oracle.entries:
                if entry.decision_id == one:
                    entry.expires_s = min(entry.expires_s, clock() + SETTLE_S)
        elif step == "withdraw":
            prompts.withdraw(str(one))
            oracle.drop(lambda entry, gone=one: entry.decision_id == gone)  # type: ignore[misc]
        elif step in ("fail", "forget"):
            getattr(prompts, str(step))(one)
            oracle.drop(lambda entry, gone=one: entry.endpoint_id == gone)  # type: ignore[misc]
        else:
            keys_asked = np.array(one, np.uint64)
            known: list[tuple[int, bool]] = two  # type: ignore[assignment] # as drawn
            indexed = [min(count, keys_asked.size) for count, _ in known]
            is_exact = [exact for _, exact in known]
            got = prompts.extend(
                keys_asked, IDS, np.array(indexed, np.int64), np.array(is_exact, np.bool_)
            )
            check([int(count) for count in got], oracle.extend(keys_asked, indexed, is_exact))


@given(st.lists(steps, max_size=60))
@settings(max_examples=200)
def test_it_says_what_a_list_says(program: list[tuple[object, ...]]) -> None:
    """Whatever is added, withdrawn, covered or over."""

    def equal(got: list[int], expected: list[int]) -> None:
        assert got == expected

    compare(program, equal)


@given(st.lists(steps, max_size=80))
def test_when_it_is_full_the_oldest_prompts_make_way(program: list[tuple[object, ...]]) -> None:
    """Then it says less than the list, never more, and what it holds is sound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculative, "MAX_PROMPTS", 5)
        patch.setattr(speculative, "MAX_KEYS", 24)
        patch.setattr(speculative, "MAX_PROMPT_KEYS", 7)

        def no_more(got: list[int], expected: list[int]) -> None:
            assert all(one <= other for one, other in zip(got, expected, strict=True))

        compare(program, no_more)


def test_the_latest_prompt_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many came before it; of a very long one, its head."""
    monkeypatch.setattr(speculative, "MAX_PROMPTS", 5)
    monkeypatch.setattr(speculative, "MAX_KEYS", 24)
    monkeypatch.setattr(speculative, "MAX_PROMPT_KEYS", 7)
    prompts = SpeculativePrompts(2.0, Clock())
    before = counted("crowded")

    for i in range(50):
        keys = prompt(1 + i % 10, start=1000 * i)
        prompts.add("a", keys, str(i))
        assert blocks(prompts, keys) == [min(keys.size, 7), 0, 0]

    assert len(prompts) <= 5
    assert counted("crowded") >= before + 45
