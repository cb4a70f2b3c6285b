"""The `prefix` scorer."""

import pytest

from services.router.scorers.prefix import Prefix
from tests.services.router.given import candidates, view


@pytest.mark.parametrize(
    ("prompt_tokens", "cached", "scores"),
    [(1000, [0, 500, 992], [0, 0.5, 0.992]), (1, [0], [0]), (16, [0, 0], [0, 0])],
)
def test_it_is_the_cached_share(
    prompt_tokens: int, cached: list[float], scores: list[float]
) -> None:
    """Cached tokens over prompt tokens."""
    seen = candidates(len(cached), cached_tokens=cached)

    assert Prefix()(view(prompt_tokens), seen).tolist() == pytest.approx(scores)
