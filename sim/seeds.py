"""Seeds of contents: 64 bits from a name and integers, equal on every machine.

Different names or integers give different contents, so nothing is shared by accident.
"""

from functools import lru_cache
from hashlib import blake2b

MASK = (1 << 64) - 1


@lru_cache(maxsize=256)
def seed_space(name: str) -> int:
    """Where the seeds of one kind of content begin, for example `b2b-saas/system`."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def seed_of(space: int, *ids: int) -> int:
    """The seed of one content of a space."""
    z = space
    for number in ids:
        # SplitMix64 (Steele et al., OOPSLA 2014): for each z, different numbers stay different.
        z = (z + (number + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
    return z
