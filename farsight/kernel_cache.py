"""Compiled kernels are thrown away when any of the sources that they are made of has changed.

Numba stores a compiled function beside its source and compiles it again when that file changes, but
not when a kernel or an intrinsic of another file that it calls does. So files that call each other
have one digest.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def drop_stale(sources: Iterable[Path], cache: Path) -> None:
    """Remove what Numba has stored in `cache` for the sources when any of them has changed since.

    To be called before any of their kernels is; once for each `cache`.
    """
    files = sorted(sources)
    digest = hashlib.sha256()
    for source in files:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    stamp = cache / "kernels.sha256"
    try:
        if stamp.is_file() and stamp.read_text() == digest.hexdigest():
            return
        for source in files:
            for stored in cache.glob(f"{source.stem}.*.nb[ci]"):
                stored.unlink(missing_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest.hexdigest())
    except OSError:  # a cache that cannot be written does not go stale
        return
