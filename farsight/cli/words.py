"""Figures and states as people read them."""

from rich.text import Text

NOTHING = "-"
NEVER = "never"

_CONFIDENCES = {
    "EXACT": ("exact", "green"),
    "DEGRADED": ("DEGRADED", "bold red"),
    "APPROXIMATE": ("approx", "yellow"),
}


def count(number: float) -> str:
    """A whole number with thousands separated."""
    return f"{number:,.0f}"


def tokens(number: float) -> str:
    """A sum of tokens: to the token below a million."""
    return count(number) if number < 1e6 else f"{number / 1e6:,.1f} M"


def duration(seconds: float) -> str:
    """A duration in the unit that fits it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"


def age(age_ms: int | None) -> str:
    """An age in milliseconds; None is never."""
    return NEVER if age_ms is None else duration(age_ms / 1000)


def latency(latency_ms: float) -> str:
    """Milliseconds with a decimal where it matters; zero is unknown."""
    if not latency_ms > 0:
        return NOTHING
    return f"{latency_ms:.1f}" if latency_ms < 100 else f"{latency_ms:,.0f}"


def confidence(name: str) -> Text:
    """A confidence in its colour; empty when it was not said."""
    return Text(*_CONFIDENCES.get(name, (NOTHING, "dim")))
