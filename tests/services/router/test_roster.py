"""The constant columns of a model's endpoints."""

from tests.services.router.given import record, roster


def test_equal_engines_share_a_namespace() -> None:
    """Different fingerprints or key blocks make further ones; rows name their members."""
    found = roster(
        record("a"),
        record("b", model_fingerprint="f"),
        record("c"),
        record("d", key_block_tokens=8),
    )

    spaces = [(s.block_tokens, s.rows.tolist(), s.endpoint_ids) for s in found.namespaces]

    assert spaces == [(16, [0, 2], ("a", "c")), (16, [1], ("b",)), (8, [3], ("d",))]
    assert len({s.seed for s in found.namespaces}) == 3


def test_rows_are_grouped_by_accelerator() -> None:
    """Each label once."""
    found = roster(record("a"), record("b", accelerator="L4"), record("c"))

    assert [(a, rows.tolist()) for a, rows in found.accelerators] == [("H100", [0, 2]), ("L4", [1])]


def test_the_longest_limit_counts_unless_one_is_unknown() -> None:
    """0 means that an endpoint does not say: then nothing is refused for its length."""
    limits = {"a": 100, "b": 200}
    known = [record(e, max_model_len_tokens=limit) for e, limit in limits.items()]

    assert roster(*known).max_model_len_tokens == 200
    assert roster(*known, record("c")).max_model_len_tokens == 0


def test_what_is_left_keeps_its_slots() -> None:
    """Excluding endpoints changes rows, not the fleet's columns."""
    found = roster(record("a"), record("b"), record("c", accelerator="L4"))

    left = found.without({"b"})

    assert left is not None
    assert left.endpoint_ids == ("a", "c")
    assert left.slots.tolist() == [0, 2]
    assert left.namespaces[0].rows.tolist() == [0, 1]
    assert found.without({"a", "b", "c"}) is None
