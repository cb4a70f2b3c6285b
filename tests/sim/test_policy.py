"""Routing policies: every file is good, and bad ones are refused."""

from importlib import resources

import pytest

from farsight.errors import InvalidField
from services.router.filters.prefix_cache_affinity import PrefixCacheAffinity
from services.router.profile import Profile
from sim.policy import load_policy, parse_policy, policy_names
from tests.services.router.given import candidates, view

PREDICTING = {"latency-headroom", "marginal-cost", "slo-attainment"}
GOOD = "description: d\nindex: exact\ntraining: false\nprofile: {picker: random}\n"


def profile(name: str) -> Profile:
    """The profile of a policy that is not the oracle."""
    found = load_policy(name).profile
    assert found is not None
    return found


def weights(name: str) -> dict[str, float]:
    """Weights of the policy's scorers."""
    return {scorer: weight for scorer, weight, _ in profile(name).scorers}


def test_the_names_are_the_files() -> None:
    """The baselines of the benchmark, our own two and the bound."""
    assert set(policy_names()) == {
        "affinity-active-requests", "affinity-token-load", "approximate-prefix",
        "latency-headroom", "least-requests", "load", "oracle", "precise-prefix", "predicted",
        "predicted-analytic", "queue-kv-prefix-111", "queue-kv-prefix-223",
        "queue-kv-prefix-322", "random", "round-robin", "session-affinity",
    }  # fmt: skip
    assert list(policy_names()) == sorted(policy_names())


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_loads_under_its_name(name: str) -> None:
    """With one line that says what it is; only the oracle has no profile."""
    policy = load_policy(name)

    assert policy.name == name
    assert 0 < len(policy.description) <= 100
    assert "\n" not in policy.description
    assert policy.is_oracle == (name == "oracle") == (policy.profile is None)
    assert policy.profile is None or policy.profile.name == name


@pytest.mark.parametrize("name", sorted(set(policy_names()) - {"oracle"}))
def test_every_profile_decides_and_leaves_out_who_failed(name: str) -> None:
    """On each candidate but the inhibited one, over many draws, turns and sessions."""
    seen = candidates(3, inhibited=[0, 1, 0])
    made = profile(name)

    chosen = {
        made.choose(view(turn=turn, draw=turn / 40, session_id=f"s{turn}"), seen).position
        for turn in range(40)
    }

    assert chosen == {0, 2}


@pytest.mark.parametrize("name", policy_names())
def test_bundles_are_trained_only_where_predictions_decide(name: str) -> None:
    """Training costs time; a policy that looks at no prediction does without."""
    policy = load_policy(name)
    scorers = {scorer for scorer, _, _ in policy.profile.scorers} if policy.profile else set()

    assert not policy.training or scorers & PREDICTING


@pytest.mark.parametrize("name", policy_names())
def test_only_one_policy_goes_by_routing_history(name: str) -> None:
    """All others hear KV events."""
    assert load_policy(name).index == ("approximate" if name == "approximate-prefix" else "exact")


@pytest.mark.parametrize(
    ("name", "queue", "kv", "prefix"),
    [
        ("load", 1, 1, 0),
        ("queue-kv-prefix-111", 1, 1, 1),
        ("queue-kv-prefix-322", 2, 2, 3),
        ("queue-kv-prefix-223", 2, 2, 3),
        ("approximate-prefix", 1, 1, 1),
        ("precise-prefix", 2, 2, 3),
    ],
)
def test_published_weights_are_where_they_belong(
    name: str, queue: int, kv: int, prefix: int
) -> None:
    """`3,2,2` is prefix, queue, KV; `2,2,3` is queue, KV, prefix."""
    published = {"queue-depth": queue, "kv-headroom": kv, "prefix": prefix}

    assert weights(name) == {scorer: weight for scorer, weight in published.items() if weight}
    assert profile(name).picker_name == "max-score"


def test_predicted_and_its_analytic_twin_differ_in_training_alone() -> None:
    """So that the difference between them is what training is worth."""
    trained, analytic = load_policy("predicted"), load_policy("predicted-analytic")

    assert (trained.training, analytic.training) == (True, False)
    assert profile("predicted").scorers == profile("predicted-analytic").scorers
    assert profile("predicted").picker == profile("predicted-analytic").picker


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("affinity-token-load", 286_720),
        ("affinity-active-requests", 286_720),
        ("latency-headroom", 102_400),
    ],
)
def test_affinity_is_released_at_the_calibrated_backlog(name: str, tokens: int) -> None:
    """Warm endpoints are kept up to that many tokens in flight more than elsewhere."""
    (keeps,) = (made for found, made in profile(name).filters if found == "prefix-cache-affinity")
    assert isinstance(keeps, PrefixCacheAffinity)

    def kept(ahead: float) -> list[bool]:
        seen = candidates(2, cached_tokens=[800, 0], in_flight_prefill_tokens=[ahead, 0])
        return [bool(stays) for stays in keeps(view(1000), seen)]

    assert kept(tokens) == [True, False]
    assert kept(tokens + 1) == [True, True]


def test_an_unknown_policy_is_refused_with_what_exists() -> None:
    """Also one that would leave the folder."""
    for name in ("best", "", "../policies/load", "load.yaml"):
        with pytest.raises(InvalidField, match=r"policy: expected one of \[.*'oracle'.*not "):
            load_policy(name)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [", "policy p: expected YAML"),
        ("[]", "policy p: "),
        ("", "policy p: "),
        (GOOD + "colour: red", "policy p: .*colour"),
        (GOOD.replace("index: exact\n", ""), "policy p: .*index"),
        (GOOD.replace("exact", "perfect"), "policy p: .*index.*'exact' or 'approximate'"),
        (GOOD.replace("false", "7"), "policy p: .*training"),
        (GOOD.replace("description: d", "description: ''"), "policy p: .*description"),
        (GOOD.replace("{picker: random}", "random"), "policy p: .*profile"),
        (GOOD.replace("picker: random", "picker: luck"), "profile p: .*not 'luck'"),
        (GOOD.replace("picker: random", "picker: random, scorer: []"), "profile p: .*scorer"),
        (GOOD.replace("picker: random", "shipped: best"), r"profile\.shipped: .*predicted.*'best'"),
        (GOOD.replace("picker", "shipped: predicted, picker"), r"policy p\.profile: .*picker"),
        ("description: d\ndecider: dice", "policy p: .*decider"),
        (GOOD + "decider: oracle", "policy p: .*index"),
    ],
)
def test_a_bad_policy_is_refused_and_says_why(text: str, named: str) -> None:
    """Whatever is wrong, it is InvalidField that names the policy and the fault."""
    with pytest.raises(InvalidField, match=rf"(?s){named}"):
        parse_policy("p", text)


def test_the_folder_holds_nothing_but_policies() -> None:
    """A file with another ending would be passed over in silence."""
    names = {file.name for file in resources.files("sim.policies").iterdir()} - {"__pycache__"}

    assert names == {"__init__.py", *(f"{name}.yaml" for name in policy_names())}
