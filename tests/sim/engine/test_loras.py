"""Adapters: so many in one step, loaded when they are not resident."""

from tests.sim.engine.given import Watched, prompt, spec, watched

LOAD_S = 0.5


def engine_with(loras: int) -> Watched:
    """An engine with room for so many adapters."""
    return watched(spec(blocks=64, loras=loras, lora_load_s=LOAD_S))


def run_one(engine: Watched, lora: int) -> float:
    """Time to first token of a request on an idle engine, always of the same size."""
    now_s = engine.engines.reached_s
    name = engine.submit(prompt(100 + engine.submitted, 16), now_s, lora=lora)
    engine.run(now_s + 10)
    return engine.first_s[name] - now_s


def test_the_first_request_of_an_adapter_waits_for_its_load() -> None:
    """The next ones do not."""
    engine = engine_with(loras=2)
    plain_s = run_one(engine, lora=-1)

    assert run_one(engine, lora=7) == plain_s + LOAD_S
    assert run_one(engine, lora=7) == plain_s


def test_the_adapter_that_was_used_last_stays() -> None:
    """Of three adapters in two slots, the one that was used least recently is loaded again."""
    engine = engine_with(loras=2)
    plain_s = run_one(engine, lora=-1)
    for lora in (1, 2, 1, 3):
        run_one(engine, lora)

    assert run_one(engine, lora=1) == plain_s
    assert run_one(engine, lora=2) == plain_s + LOAD_S


def test_an_adapter_in_use_is_not_unloaded() -> None:
    """A long answer keeps its adapter resident, whatever comes and goes beside it."""
    engine = engine_with(loras=2)
    plain_s = run_one(engine, lora=-1)
    long = engine.submit(prompt(1, 16, output_tokens=400), engine.engines.reached_s, lora=1)
    for lora in (2, 3, 4):
        engine.submit(prompt(lora, 16), engine.engines.reached_s, lora=lora)
    engine.run(engine.engines.reached_s + 100)
    assert long in engine.end_s

    assert run_one(engine, lora=1) == plain_s


def test_use_lasts_until_the_request_ends() -> None:
    """Not only its admission makes an adapter young."""
    engine = engine_with(loras=2)
    plain_s = run_one(engine, lora=-1)
    engine.submit(prompt(1, 16, output_tokens=400), engine.engines.reached_s, lora=1)
    engine.submit(prompt(2, 16), engine.engines.reached_s, lora=2)
    engine.run(engine.engines.reached_s + 100)

    run_one(engine, lora=3)

    assert run_one(engine, lora=1) == plain_s


def test_a_request_without_a_free_slot_is_skipped_not_blocking() -> None:
    """Those behind it go on; it runs when an adapter is no longer used."""
    engine = engine_with(loras=1)
    first, other, same, none = (
        engine.submit(prompt(seed, 16, output_tokens=20), lora=lora)
        for seed, lora in enumerate((1, 2, 1, -1))
    )

    engine.run(0.1)
    gauges = engine.engines.gauges(0)
    assert (gauges.running, gauges.waiting) == (3, 1)
    engine.run()

    assert engine.first_s[first] == engine.first_s[same] == engine.first_s[none]
    assert engine.first_s[other] > engine.end_s[first]


def test_skipped_requests_keep_their_order() -> None:
    """The one that was skipped first is the first of the next adapter."""
    engine = watched(spec(blocks=64, sequences=1, loras=1))
    names = [engine.submit(prompt(seed, 16), lora=lora) for seed, lora in enumerate((1, 2, 3, 2))]

    engine.run()

    assert sorted(names, key=lambda name: engine.first_s[name]) == names


def test_without_a_limit_adapters_cost_nothing() -> None:
    """Zero slots mean that adapters are not modelled."""
    engine = engine_with(loras=0)

    assert run_one(engine, lora=7) == run_one(engine, lora=-1)
