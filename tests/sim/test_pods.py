"""The records of simulated pods."""

from farsight.discovery import decode_endpoints
from farsight.keys import CANONICAL_BLOCK_TOKENS
from services.router.roster import Roster, endpoint_of
from sim.pods import MODEL, Pods
from tests.sim.small_fleets import engine


def test_records_say_what_the_engines_are() -> None:
    """A router takes them as it takes those in etcd."""
    pods = Pods([engine(960, 48), engine(640)], ("ada",))

    records = decode_endpoints(pods.records())

    assert tuple(records) == pods.ids == ("pod-000", "pod-001")
    first, second = records.values()
    assert (first.block_size_tokens, first.kv_blocks) == (48, 20)
    assert (second.block_size_tokens, second.kv_blocks) == (16, 40)
    assert first.key_block_tokens == CANONICAL_BLOCK_TOKENS
    assert list(first.lora_names) == ["ada"]


def test_requests_and_engines_chain_their_keys_from_the_same_seed() -> None:
    """The router derives a seed for model and adapter from the record."""
    pods = Pods([engine()], ("ada", "bob"))
    (record,) = decode_endpoints(pods.records()).values()

    for name, lora in ((MODEL, ""), ("ada", "ada"), ("bob", "bob")):
        (space,) = Roster.of(name, 1, (endpoint_of(record),), [0]).namespaces
        assert space.seed == pods.seed(lora)
    assert len({pods.seed(lora) for lora in ("", "ada", "bob")}) == 3


def test_adapters_have_numbers_and_the_model_has_none() -> None:
    """Engines know them by these."""
    pods = Pods([engine()], ("ada", "bob"))

    assert [pods.lora_number(name) for name in ("", "ada", "bob")] == [-1, 0, 1]


def test_ids_sort_as_their_numbers_in_a_large_fleet() -> None:
    """So that columns of a roster are in the order of the pods."""
    pods = Pods([engine()] * 1200, ())

    assert list(pods.ids) == sorted(pods.ids)
    assert pods.number_of[pods.ids[1199]] == 1199


def test_a_pod_that_left_comes_back_with_a_new_epoch() -> None:
    """Others keep theirs."""
    pods = Pods([engine()] * 2, ())

    pods.withdraw(0)
    gone = set(decode_endpoints(pods.records()))
    pods.register_again(0)
    back = decode_endpoints(pods.records())

    assert gone == {"pod-001"}
    assert {e: r.epoch for e, r in back.items()} == {"pod-000": 2, "pod-001": 1}
