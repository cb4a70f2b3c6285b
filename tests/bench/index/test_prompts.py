"""The prompts that are matched."""

from bench.index.prompts import build


def test_deltas_and_contents_have_the_depths() -> None:
    """Of every endpoint and prompt."""
    prompts = build(3, 100, 5)
    held: dict[int, set[int]] = {slot: set() for slot in range(5)}
    for delta in prompts.deltas():
        held[delta.slot] |= set(delta.keys.tolist())

    for slot, own in held.items():
        keys, counts = prompts.contents(slot)
        assert set(keys.tolist()) == own
        assert counts.sum() == keys.size == prompts.depths[:, slot].sum()
        for prompt, depth in zip(prompts.keys, prompts.depths[:, slot], strict=True):
            assert set(prompt[:depth].tolist()) <= own
            assert not set(prompt[depth:].tolist()) & own
