"""Agreement between an engine's hashes and its events."""

import math
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.sidecar.agreement import INTERVAL_S, MAX_BLOCKS, Agreement
from services.sidecar.engine_hash import EngineHash, wire_hash
from services.sidecar.events import decode
from tests.fakes.engine import body_of, removed, stored
from tests.services.sidecar.hash_vectors import CASES, body

PROMPTS = ("plain", "salt", "images", "embeds", "coarse")
TOKENS = list(range(200))


class Clock:
    """Every look is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def agreement(algorithm: str = "auto", seed: str = "") -> Agreement:
    """One that compares every batch."""
    return Agreement(algorithm, seed, clock=Clock())


def span(algorithm: str = "sha256", *, blocks: int = 12, **fields: Any) -> bytes:
    """A batch with the first blocks of a prompt, hashed without extra keys."""
    digests = EngineHash(algorithm, "").chain(TOKENS, 16)[:blocks]
    hashes = [wire_hash(digest) for digest in digests]
    return body_of([stored(hashes, TOKENS[: 16 * blocks], **fields)])


def counted(kind: str, algorithm: str) -> float:
    """A counter of the module."""
    name = f"farsight_sidecar_hashes_{kind}_total"
    return REGISTRY.get_sample_value(name, {"algorithm": algorithm}) or 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_agrees_with_the_real_engine(case: dict[str, Any], prompt: str) -> None:
    """Numbers and digests, salts, images, embeddings, and groups of several block sizes."""
    checked = agreement(case["algorithm"], case["seed"])

    checked.observe(decode(bytes.fromhex(case["bodies"][prompt])))

    assert checked.ratio == 1


@pytest.mark.parametrize("case", CASES)
def test_finds_the_algorithm_out(case: dict[str, Any]) -> None:
    """The first span that agrees decides; the seed must be known."""
    checked = agreement("auto", case["seed"])

    for prompt in PROMPTS:
        checked.observe(decode(bytes.fromhex(case["bodies"][prompt])))

    assert checked.ratio == 1


def test_says_nothing_while_no_algorithm_fits(caplog: pytest.LogCaptureFixture) -> None:
    """An engine with a seed of its own is no alarm; it is logged once."""
    checked = agreement()
    before = counted("compared", "unknown")

    for _ in range(20):
        checked.observe(decode(body("xxhash", "42", "plain")))

    assert math.isnan(checked.ratio)
    assert counted("compared", "unknown") == before + 20 * 4
    assert [r.message for r in caplog.records] == ["block hashes agree with no algorithm"]


def test_a_configured_algorithm_that_does_not_fit_disagrees() -> None:
    """Whoever sets it wants to be told."""
    checked = agreement("sha256_cbor")
    before = counted("disagreeing", "sha256_cbor")

    checked.observe(decode(span("sha256")))

    assert checked.ratio == 0
    assert counted("disagreeing", "sha256_cbor") == before + MAX_BLOCKS
    assert REGISTRY.get_sample_value("farsight_sidecar_hash_agreement_ratio") == 0


def test_hashes_that_cease_to_agree_lower_the_ratio() -> None:
    """Something is hashed that events do not tell."""
    checked = agreement()
    checked.observe(decode(span()))
    drifted = span(extra_keys=[["salt"]] + [None] * 11)

    for _ in range(3):
        checked.observe(decode(drifted))

    assert checked.ratio == 0.25


@pytest.mark.parametrize(
    "fields",
    [
        {"parent": 5},
        {"lora_name": "adapter", "extra_keys": [["adapter"]] * 12},
        {"medium": "CPU"},
        {"block_size": 0},
        {"block_size": 32},
        {"extra_keys": [[7]] + [None] * 11},
    ],
)
def test_what_cannot_be_compared_is_left_out(fields: dict[str, Any]) -> None:
    """Unknown parents and adapters, other tiers, spans with holes, foreign extra keys."""
    checked = agreement("sha256")

    checked.observe(decode(span(**fields)))

    assert math.isnan(checked.ratio)


def test_the_first_span_that_can_be_compared_is_taken() -> None:
    """Other events of the batch do not matter."""
    checked = agreement("sha256")
    digests = EngineHash("sha256").chain(TOKENS, 16)
    hashes = [wire_hash(digest) for digest in digests]
    batch = [
        removed([1]),
        stored([9], TOKENS[:16], parent=4),
        stored(hashes, TOKENS[: 16 * len(hashes)]),
    ]

    checked.observe(decode(body_of(batch)))

    assert checked.ratio == 1


def test_compares_a_few_spans_a_second_at_most() -> None:
    """However many batches come."""
    now = [0.0]
    checked = Agreement("sha256", "", clock=lambda: now[0])
    before = counted("compared", "sha256")

    for _ in range(1000):
        now[0] += INTERVAL_S / 100
        checked.observe(decode(span()))

    assert counted("compared", "sha256") - before == 10 * MAX_BLOCKS
