"""Seeds of contents."""

from sim.seeds import seed_of, seed_space


def test_seeds_are_the_same_on_every_machine() -> None:
    """They depend on nothing but the name and the integers."""
    assert seed_space("b2b-saas/system") == 6406852552018125581
    assert seed_of(seed_space("b2b-saas/system"), 3, 4) == 14375002888282050785


def test_contents_of_different_names_or_integers_differ() -> None:
    """Neither order nor number of the integers is lost."""
    spaces = [seed_space(name) for name in ("a", "b")]
    ids = [(), (0,), (0, 0), (0, 1), (1, 0), *((i, j) for i in range(2, 60) for j in range(60))]
    seeds = [seed_of(space, *numbers) for space in spaces for numbers in ids]

    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
