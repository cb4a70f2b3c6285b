"""Profiles: YAML to a checked pipeline, and what the pipeline does."""

import numpy as np
import pytest

from farsight.errors import InvalidField
from services.router.plugins import load_all
from services.router.profile import MAX_PROFILE_BYTES, Profile, one_sided, parse
from tests.services.router.given import candidates, view


def profile(text: str) -> Profile:
    """A profile from YAML."""
    return parse("p", text, load_all())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("picker: [", "filters, scorers and a picker"),
        ("", "filters, scorers and a picker"),
        ("- picker", "filters, scorers and a picker"),
        ("filters: []", "picker"),
        ("picker: max-score\nscorer: []", "scorer"),
        ("picker: 7", "picker"),
        ("picker: best", "one of .*max-score.*not 'best'"),
        ("picker: max-score\nfilters: [warm]", "not 'warm'"),
        ("picker: max-score\nscorers: [luck]", "not 'luck'"),
        ("picker: max-score\nscorers: [{prefix: {weight: -1}}]", "prefix.weight.*>= 0"),
        ("picker: max-score\nscorers: [{prefix: {weight: .nan}}]", "prefix.weight"),
        ("picker: max-score\nscorers: [{prefix: {weight: .inf}}]", "prefix.weight"),
        ("picker: max-score\nscorers: [{prefix: {weight: true}}]", "prefix.weight"),
        ("picker: max-score\nscorers: [{prefix: {weight: heavy}}]", "prefix.weight"),
        ("picker: max-score\nscorers: [{prefix: {}, token-load: {}}]", "one plugin an entry"),
        ("picker: max-score\nscorers: [{}]", "one plugin an entry"),
        ("picker: max-score\nscorers: [prefix: ]", "scorers"),
        ("picker: {near-tie: {epsilom: 1}}", "near-tie: expected parameters .*epsilon.*epsilom"),
        ("picker: {near-tie: {epsilon: wide}}", "near-tie: .*epsilon"),
        ("picker: {near-tie: {epsilon: -1}}", "near-tie: .*epsilon"),
        ("picker: max-score\nscorers: [{token-load: {capacity_tokens: 0}}]", "capacity_tokens"),
        ("picker: !!int ''", "filters, scorers and a picker"),
        ("picker: 2026-99-99", "filters, scorers and a picker"),
        ("picker: !!timestamp x", "filters, scorers and a picker"),
        ("picker: " + "[" * 20_000, "filters, scorers and a picker"),
        ("picker: " + "9" * 5_000, "filters, scorers and a picker"),
        ("# " + "x" * MAX_PROFILE_BYTES, "at most 65536 bytes"),
    ],
)  # fmt: skip
def test_a_bad_profile_is_refused_and_says_why(text: str, named: str) -> None:
    """Whatever is wrong, it is InvalidField that names the profile and the fault."""
    with pytest.raises(InvalidField, match=rf"(?s)profile p.*{named}"):
        profile(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    """etcd holds bytes."""
    with pytest.raises(InvalidField, match="profile p"):
        parse("p", b"\xff\xfe\xff", load_all())


def test_totals_are_weighted_sums() -> None:
    """A score times its weight, one weight being 1 by default."""
    made = profile("picker: max-score\nscorers: [active-requests, {prefix: {weight: 2}}]")
    seen = candidates(2, cached_tokens=[500, 0], in_flight_requests=[1, 0])

    choice = made.choose(view(), seen)

    assert choice.totals.tolist() == pytest.approx([1.5, 1.0])
    assert [(name, s.tolist()) for name, s in choice.scores] == [
        ("active-requests", [0.5, 1.0]),
        ("prefix", [0.5, 0.0]),
    ]
    assert choice.position == 0


def test_filtered_candidates_keep_their_place_and_are_named() -> None:
    """Positions are over all candidates; the reason is the filter's name."""
    made = profile("picker: max-score\nfilters: [available]\nscorers: [active-requests]")
    seen = candidates(3, inhibited=[1, 0, 0], in_flight_requests=[0, 5, 1])

    choice = made.choose(view(), seen)

    assert choice.position == 2
    assert choice.pick.position == 1
    assert choice.filtered_by == ("available", "", "")
    assert choice.totals[0] == -np.inf
    assert choice.ranked() == (2, 1, 0)
    assert choice.relaxed == ()


def test_a_filter_that_leaves_nothing_is_passed_over() -> None:
    """The next filter sees everybody; the relaxed one is named."""
    made = profile(
        "picker: max-score\nfilters: [available, prefix-cache-affinity]\nscorers: [prefix]"
    )
    seen = candidates(2, inhibited=[1, 1], cached_tokens=[0, 992])

    choice = made.choose(view(), seen)

    assert choice.relaxed == ("available",)
    assert choice.filtered_by == ("prefix-cache-affinity", "")
    assert choice.position == 1


def test_one_candidate_is_chosen_without_scorers() -> None:
    """Nothing to compare is no problem."""
    choice = profile("picker: near-tie").choose(view(), candidates(1))

    assert (choice.position, choice.totals.tolist(), choice.ranked()) == (0, [0.0], (0,))


def test_a_score_that_is_no_number_counts_as_nothing() -> None:
    """NaN predictions do not poison the total."""
    made = profile("picker: max-score\nscorers: [marginal-cost, active-requests]")
    seen = candidates(2, ttft_q50_ms=[np.nan, 100])

    assert made.choose(view(), seen).totals.tolist() == pytest.approx([1.0, 1.0])


def test_the_chosen_one_leads_the_ranking_whatever_its_total() -> None:
    """Alternatives follow best first, as many as wanted."""
    made = profile("picker: round-robin\nscorers: [active-requests]")
    seen = candidates(4, in_flight_requests=[3, 2, 1, 0])

    choice = made.choose(view(turn=0), seen)

    assert choice.ranked(2) == (0, 3, 2)


@pytest.mark.parametrize(
    ("scorers", "side"),
    [
        ("[prefix]", "affinity"),
        ("[token-load, active-requests]", "distribution"),
        ("[prefix, token-load]", ""),
        ("[prefix, {token-load: {weight: 0}}]", "affinity"),
        ("[slo-attainment, marginal-cost]", ""),
        ("[]", ""),
    ],
)
def test_weight_on_one_side_is_noticed(scorers: str, side: str) -> None:
    """Affinity alone herds, distribution alone forgets caches."""
    assert one_sided(profile(f"picker: max-score\nscorers: {scorers}"), load_all()) == side
