"""Contents by seed and length."""

import numpy as np
import pytest

from sim.tokens import FIRST_TOKEN, VOCABULARY, Piece, shared_tokens, tokens_of

# The reference implementation's first values for this seed.
SPLITMIX_1234567 = (
    *(6457827717110365317, 3203168211198807973, 9817491932198370423),
    *(4593380528125082431, 16408922859458223821),
)


def test_equal_pieces_are_equal_and_others_share_no_prefix() -> None:
    """A seed names a content, wherever in a prompt it stands and however long it is."""
    one = tokens_of([Piece(1, 100)])
    both = tokens_of([Piece(2, 50), Piece(1, 60)])

    assert np.array_equal(both[50:], one[:60])
    assert (one[:50] != both[:50]).all()
    assert one.dtype == np.uint32


def test_tokens_are_those_of_every_machine() -> None:
    """They follow the published sequence, so results of other machines are comparable."""
    expected = [FIRST_TOKEN + value % (VOCABULARY - FIRST_TOKEN) for value in SPLITMIX_1234567]

    assert tokens_of([Piece(1234567, 5)]).tolist() == expected


def test_tokens_are_spread_over_the_vocabulary() -> None:
    """None of the special ones, and no value twice as often as chance would have it."""
    tokens = tokens_of([Piece(3, 100_000)])

    assert tokens.min() >= FIRST_TOKEN
    assert tokens.max() < VOCABULARY
    assert np.unique(tokens).size > 60_000


def test_a_remembered_content_cannot_be_changed() -> None:
    """All that begin with it have the same array."""
    pieces = (Piece(5, 20),)
    tokens = shared_tokens(pieces)

    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1

    assert np.array_equal(tokens, tokens_of(pieces))
