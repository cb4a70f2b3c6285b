"""Compiled kernels are thrown away when any kernel source has changed.

Numba stores a compiled function beside its source and compiles it again when that file changes, but
not when a kernel of another file that it calls does. So the whole folder has one digest.
"""

import hashlib
from pathlib import Path


def drop_stale(folder: Path, cache: Path) -> None:
    """Remove what Numba has stored in `cache` when the sources in `folder` have changed since."""
    digest = hashlib.sha256()
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    stamp = cache / "kernels.sha256"
    try:
        if stamp.is_file() and stamp.read_text() == digest.hexdigest():
            return
        for stored in cache.glob("*.nb[ci]"):
            stored.unlink(missing_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest.hexdigest())
    except OSError:  # a cache that cannot be written does not go stale
        return
