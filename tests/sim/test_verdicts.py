"""The instrument tells good routing from bad, also when the bad one is ours."""

from dataclasses import replace

import pytest

from sim.offered import Session
from sim.policy import Policy, parse_policy
from sim.tokens import Piece
from tests.sim.small_fleets import (
    REPORTED,
    Played,
    ask,
    engine,
    hot_prefixes,
    offered,
    play,
    session,
)

ALONE = parse_policy(
    "prefix-alone",
    """
description: all weight on the prefix, none on load
index: exact
training: false
profile:
  filters: [available]
  scorers:
    - prefix: {weight: 1}
  picker: max-score
""",
)


def ttft_p90_s(played: Played) -> float:
    """Of the whole run."""
    found = played.outcome.overall.ttft.p90_s
    assert found is not None
    return found


def one_hot_prefix(seed: int) -> list[Session]:
    """One pod has 2,000 tokens; then everybody wants them, and more than one pod can answer."""
    shared = (Piece(7, 2000),)
    crowd = [
        replace(made, context=shared, turns=(replace(made.turns[0], at_s=made.turns[0].at_s + 2),))
        for made in hot_prefixes(seed, 400, 160.0)
    ]
    return [session("first", ask(1), context=shared), *crowd]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_router_that_looks_at_prefixes_alone_loses_under_a_hot_prefix(seed: int) -> None:
    """It has the most from caches and serves the worst: one pod does all the work."""
    policies: dict[str, str | Policy] = {
        "alone": ALONE, "load": "load", "predicted": "predicted-analytic", "oracle": "oracle",
    }  # fmt: skip
    runs = {
        name: play(offered(one_hot_prefix(seed)), [engine()] * 4, policy, seed=seed)
        for name, policy in policies.items()
    }

    ttft_s = {name: ttft_p90_s(played) for name, played in runs.items()}
    cached = {name: played.rows["cached_tokens"].sum() for name, played in runs.items()}
    assert len(set(runs["alone"].rows["endpoint"].tolist())) == 1
    assert cached["alone"] == max(cached.values())
    assert ttft_s["alone"] > 3 * max(ttft_s["load"], ttft_s["predicted"]), ttft_s


@pytest.mark.parametrize("seed", [1, 2])
def test_a_router_that_ignores_prefixes_loses_where_they_do_not_fit_everywhere(seed: int) -> None:
    """Load alone spreads every prefix over all caches."""
    ttft_s = {
        policy: ttft_p90_s(play(offered(hot_prefixes(seed)), [engine(6000)] * 3, policy, seed=seed))
        for policy in ("load", "precise-prefix", "predicted-analytic")
    }

    assert ttft_s["load"] > 2 * max(ttft_s["precise-prefix"], ttft_s["predicted-analytic"]), ttft_s


def test_a_router_that_hears_nothing_of_caches_any_more_gets_worse() -> None:
    """The same profile with every KV delta and snapshot ten minutes late.

    Prefixes return more seldom than prompts on their way can stand in for an index.
    """
    late = replace(REPORTED, delta_delay_s=600.0, snapshot_delay_s=600.0)
    load = hot_prefixes(1, per_s=1.5)
    ttft_s = [
        ttft_p90_s(play(offered(load), [engine(6000)] * 3, "precise-prefix", around))
        for around in (REPORTED, late)
    ]

    assert ttft_s[1] > 2 * ttft_s[0]
