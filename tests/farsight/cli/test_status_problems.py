"""What makes a fleet not whole."""

import pytest

from farsight.cli.status_problems import judge
from farsight.cli.status_report import Fleet, LiveProfile
from tests.farsight.cli.shown import EPOCH, KINDS, endpoint, fleet, load, service, source


def test_whole() -> None:
    """A fleet with everything there and exact is whole."""
    report = judge(fleet(), ())

    assert (report.is_whole, report.problems) == (True, ())


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (
            fleet(services=tuple(service(kind) for kind in KINDS if kind != "gateway")),
            "no gateway is registered",
        ),
        (
            fleet(services=(*fleet().services, service("router", "not ready"))),
            "router router-7d9c6b5f4-x2v9q at 10.244.13.107:50051: not ready",
        ),
        (fleet(endpoints=(), index=(), loads=()), "no endpoint is registered"),
        (
            fleet(endpoints=(endpoint(is_leased=False),)),
            "endpoint e0: its record has no lease and will never go",
        ),
        (fleet(index=()), "endpoint e0 at indexer indexer-0: unknown"),
        (
            fleet(index=(source(confidence="DEGRADED", reason="gap"),)),
            "endpoint e0 at indexer indexer-0: DEGRADED, gap",
        ),
        (
            fleet(index=(source(epoch=EPOCH - 1),)),
            f"endpoint e0 at indexer indexer-0: epoch {EPOCH - 1}, registered is {EPOCH}",
        ),
        (fleet(loads=()), "endpoint e0 at router router-0: unknown"),
        (
            fleet(loads=(load(age_ms=None),)),
            "endpoint e0 at router router-0: its load was never reported",
        ),
        (
            fleet(loads=(load(age_ms=5_200),)),
            "endpoint e0 at router router-0: its load is 5.2 s old",
        ),
        (
            fleet(loads=(load(inhibited=True),)),
            "endpoint e0 at router router-0: failed moments ago and is left out",
        ),
        (
            fleet(loads=(load(drift_tokens=1234.5),)),
            "endpoint e0 at router router-0: its engine finds 1,234 cached tokens fewer than the "
            "index says; a fresh snapshot was asked for; if this stays: farsight index diff",
        ),
        (
            fleet(loads=(load(drift_tokens=-80),)),
            "endpoint e0 at router router-0: its engine finds 80 cached tokens more than the "
            "index says; compare tokenizer, chat template, adapter and salt of router and engine",
        ),
        (fleet(trainer_leader=None), "no trainer leads: no new latency bundle is made"),
        (fleet(trainer_leader="gone"), "trainer gone leads and is not registered"),
        (
            fleet(loaded_version=2),
            "predictor predictor-0 has bundle 2 of model meta-llama/Llama-3.1-8B, published is 3",
        ),
        (fleet(unread=("record x is refused: y",)), "record x is refused: y"),
    ],
)
def test_problem(seen: Fleet, problem: str) -> None:
    """Each thing that is wrong is one problem in words."""
    report = judge(seen, ())

    assert (report.is_whole, report.problems) == (False, (problem,))


def test_profiles_that_differ() -> None:
    """Routers with different live profiles are a problem."""
    profiles = (LiveProfile("router-0", "predicted"), LiveProfile("router-1", "round-robin"))
    loads = (load(), load())

    problems = judge(fleet(profiles=profiles, loads=loads), ()).problems

    expected = (
        "routers disagree on the live profile: predicted at router-0, round-robin at router-1"
    )
    assert expected in problems


def test_services_done_without() -> None:
    """A service that the fleet runs without is not missed."""
    without = fleet(
        services=tuple(service(k) for k in KINDS if k not in ("gateway", "trainer")),
        trainer_leader=None,
    )

    assert judge(without, ("gateway", "trainer")).is_whole


def test_approximate_is_no_problem() -> None:
    """An engine that sends no KV events is approximate by design."""
    approximate = fleet(index=(source(confidence="APPROXIMATE", reason="no-kv-events"),))

    assert judge(approximate, ()).is_whole
