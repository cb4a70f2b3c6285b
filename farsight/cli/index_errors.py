"""What ends `farsight index`."""

from farsight.errors import FarsightError


class CannotCompare(FarsightError):
    """A part that a comparison needs is away."""


class NotHeld(FarsightError):
    """No indexer replica tells what it holds of an endpoint."""
