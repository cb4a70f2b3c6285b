"""The fleet: records, load and failures."""

import numpy as np
import pytest

from farsight import metrics as shared_metrics
from farsight.errors import NoEndpoint, NotReady, UnknownModel
from farsight.pb.events_pb2 import Load
from farsight.pb.records_pb2 import EndpointRecord
from services.router.fleet import Fleet
from tests.services.router.given import Clock, record, stored


def fleet_of(*records: EndpointRecord, clock: Clock | None = None) -> Fleet:
    """A fleet with the records, which leaves endpoints out for 2 s."""
    fleet = Fleet(2.0, clock or Clock())
    fleet.update(stored(*records))
    return fleet


def test_endpoints_of_a_model_are_sorted() -> None:
    """Only those that serve it."""
    fleet = fleet_of(record("b"), record("a"), record("x", model="other"))

    assert fleet.serving("m", ()).endpoint_ids == ("a", "b")
    assert fleet.models == ("m", "other")


def test_before_any_record_nothing_is_unknown() -> None:
    """An empty fleet says that it is not ready, and not that the model is wrong."""
    with pytest.raises(NotReady, match="registered yet"):
        Fleet(2.0).serving("m", ())


def test_a_model_that_nobody_ever_served_is_unknown() -> None:
    """The known ones are named."""
    with pytest.raises(UnknownModel, match="'x' is not served; known models: m"):
        fleet_of(record("a")).serving("x", ())


def test_a_model_whose_endpoints_left_has_no_endpoint() -> None:
    """It may come back: that is not the client's mistake, also when the whole fleet is gone."""
    fleet = fleet_of(record("a"), record("x", model="other"))

    fleet.update(stored(record("x", model="other")))
    with pytest.raises(NoEndpoint, match="registered now"):
        fleet.serving("m", ())
    fleet.update({})
    with pytest.raises(NoEndpoint, match="registered now"):
        fleet.serving("m", ())


def test_excluded_endpoints_are_left_out() -> None:
    """Unknown ids do no harm; excluding all of them leaves none."""
    fleet = fleet_of(record("a"), record("b"))

    assert fleet.serving("m", {"a", "nobody"}).endpoint_ids == ("b",)
    with pytest.raises(NoEndpoint, match="all 2 endpoints"):
        fleet.serving("m", {"a", "b"})


def test_an_adapter_is_a_model_of_its_own() -> None:
    """Served by those that loaded it; its block keys differ from the base model's."""
    fleet = fleet_of(record("a", lora_names=["ada"]), record("b"))

    adapted, base = fleet.serving("ada", ()), fleet.serving("m", ())

    assert adapted.endpoint_ids == ("a",)
    assert (adapted.model, adapted.base_model) == ("ada", "m")
    assert adapted.namespaces[0].seed != base.namespaces[0].seed
    assert len(base.namespaces) == 1
    assert fleet.models == ("ada", "m")


def test_an_adapter_that_is_named_twice_or_as_its_model_makes_one_candidate() -> None:
    """A sloppy record does not double an endpoint."""
    fleet = fleet_of(record("a", lora_names=["ada", "ada", "m"]))

    assert fleet.serving("ada", ()).endpoint_ids == ("a",)
    assert fleet.serving("m", ()).endpoint_ids == ("a",)


def test_load_reports_become_columns() -> None:
    """The last report counts; an endpoint without one has an infinite age."""
    clock = Clock()
    fleet = fleet_of(record("a"), record("b"), clock=clock)
    fleet.on_load("s", Load(endpoint_id="b", running_requests=9).SerializeToString())
    load = Load(endpoint_id="b", running_requests=3, waiting_requests=2, kv_usage_ratio=0.5)
    fleet.on_load("s", load.SerializeToString())
    clock.now_s += 0.25

    loads = fleet.loads(fleet.serving("m", ()))

    assert loads.age_ms.tolist() == [np.inf, 250.0]
    assert loads.running_requests.tolist() == [0, 3]
    assert loads.waiting_requests.tolist() == [0, 2]
    assert loads.kv_usage_ratio.tolist() == [0, 0.5]
    assert fleet.load_age_ms("b") == 250.0
    assert fleet.load_age_ms("nobody") == np.inf


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff",
        b"x" * 5000,
        Load(endpoint_id="a", kv_usage_ratio=float("nan")).SerializeToString(),
        Load(endpoint_id="a", kv_usage_ratio=-0.1).SerializeToString(),
        Load(endpoint_id="a", kv_usage_ratio=1.6).SerializeToString(),
    ],
    ids=["no message", "too long", "NaN", "negative", "above its range"],
)
def test_a_bad_load_report_is_counted_and_changes_nothing(data: bytes) -> None:
    """It comes from a network."""
    fleet = fleet_of(record("a"))
    bad = shared_metrics.bad_records.labels("load")
    before = bad._value.get()

    fleet.on_load("s", data)

    assert bad._value.get() == before + 1
    assert fleet.load_age_ms("a") == np.inf


def test_load_of_an_unknown_endpoint_is_ignored() -> None:
    """It comes again a moment after the record."""
    fleet = fleet_of(record("a"))

    fleet.on_load("s", Load(endpoint_id="nobody").SerializeToString())

    assert fleet.load_age_ms("nobody") == np.inf


def test_an_endpoint_that_fails_again_is_left_out_twice_as_long() -> None:
    """2 s, 4 s, ... up to 32 s, each from the failure on."""
    clock = Clock()
    fleet = fleet_of(record("a"), clock=clock)
    lengths_s = []

    for _ in range(6):
        fleet.failed("a")
        began_s = clock.now_s
        while fleet.is_inhibited("a"):
            clock.now_s += 1
        lengths_s.append(clock.now_s - began_s)

    assert lengths_s == [2, 4, 8, 16, 32, 32]


def test_requests_that_fail_together_are_one_failure() -> None:
    """Fifty requests on an endpoint that breaks do not lock it out for half a minute."""
    clock = Clock()
    fleet = fleet_of(record("a"), record("b"), clock=clock)

    for _ in range(50):
        fleet.failed("a")
    during = fleet.loads(fleet.serving("m", ())).inhibited.tolist()
    clock.now_s += 2

    assert during == [True, False]
    assert not fleet.is_inhibited("a")


def test_a_served_request_forgets_failures() -> None:
    """The next failure counts as the first one."""
    clock = Clock()
    fleet = fleet_of(record("a"), clock=clock)
    fleet.failed("a")
    clock.now_s += 3
    fleet.failed("a")

    fleet.served("a")
    served = fleet.is_inhibited("a")
    fleet.failed("a")
    clock.now_s += 2

    assert not served
    assert not fleet.is_inhibited("a")


def test_a_failure_of_an_unknown_endpoint_is_ignored() -> None:
    """Reports come from clients."""
    fleet = fleet_of(record("a"))

    fleet.failed("nobody")
    fleet.served("nobody")

    assert not fleet.is_inhibited("nobody")


def test_a_new_life_is_a_clean_slate() -> None:
    """Load, failures and what was known of the cache belong to the life before."""
    fleet = fleet_of(record("a"), record("b"))
    fleet.on_load("s", Load(endpoint_id="a", running_requests=3).SerializeToString())
    fleet.failed("a")
    before = fleet.serving("m", ())

    void = fleet.update(stored(record("a", epoch=2), record("b")))

    assert void == {"a"}
    assert not fleet.is_inhibited("a")
    assert fleet.load_age_ms("a") == np.inf
    assert fleet.is_stale(before)
    assert not fleet.is_stale(fleet.serving("m", ()))


def test_an_endpoint_that_joins_makes_no_roster_stale() -> None:
    """A decision under way goes on without it."""
    fleet = fleet_of(record("a"))
    before = fleet.serving("m", ())

    joined = fleet.update(stored(record("a"), record("b")))

    assert joined == frozenset()
    assert not fleet.is_stale(before)


def test_a_slot_that_is_used_again_starts_empty() -> None:
    """Endpoints come and go; the next one does not inherit load or failures."""
    fleet = fleet_of(*(record(f"a{i}") for i in range(20)))
    for i in range(20):
        load = Load(endpoint_id=f"a{i}", running_requests=3)
        fleet.on_load("s", load.SerializeToString())
        fleet.failed(f"a{i}")

    gone = fleet.update(stored(*(record(f"b{i}") for i in range(20))))

    loads = fleet.loads(fleet.serving("m", ()))
    assert len(gone) == 20
    assert np.isinf(loads.age_ms).all()
    assert not loads.inhibited.any()
    assert not loads.running_requests.any()


def test_bad_records_are_left_out() -> None:
    """One bad record does not hide the others."""
    values = stored(record("a")) | {"b": b"{", "c": stored(record("a"))["a"]}
    fleet = Fleet(2.0)

    fleet.update(values)

    assert set(fleet.endpoints) == {"a"}
