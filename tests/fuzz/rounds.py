"""The fuzzer without coverage: mutates valid messages for a time, and watches the memory."""

import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target
from tests.fuzz.watch import MIB, guarded, memory_bytes

MAX_GROWTH_BYTES = 48 * MIB
WARM_SHARE = 0.3  # pools and caches fill in the first part of a run
MAX_POOL = 512
KEPT_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    inputs: int
    growth_bytes: int


class Finding(Exception):
    """An input that breaks its target, or a leak; `path` holds the input."""

    def __init__(self, target: str, what: str, path: Path | None = None) -> None:
        where = f"; python -m tests.fuzz {target} --replay {path}" if path else ""
        super().__init__(f"{target}: {what}{where}")
        self.path = path


def fuzz(
    target: Target, seconds: float, seed: int, folder: Path, corpus: Sequence[bytes] = ()
) -> Outcome:
    """Run changed inputs until the time is over.

    :param folder: where the input of a finding is written.
    :raises Finding: the first input that breaks the target, or memory that has grown.
    """
    rng = Random(seed)
    for one in target.seeds:
        target.run(one)  # kernels are compiled here, not under the guards
    valid = [*target.seeds, *corpus]
    pool = list(valid)
    started = time.monotonic()
    baseline = 0
    with guarded(folder / "last-input") as run:
        for count in itertools.count():
            spent_s = time.monotonic() - started
            if not baseline and spent_s > seconds * WARM_SHARE:
                baseline = memory_bytes()
            if spent_s > seconds:
                break
            chosen = (
                valid[count] if count < len(valid) else mutate(rng.choice(pool), pool, target, rng)
            )
            try:
                run(target.run, chosen)
            except Exception as error:
                raise Finding(target.name, repr(error), _kept(folder, chosen)) from error
            if rng.random() < KEPT_SHARE:
                keep(pool, chosen, len(valid), rng)
    growth = memory_bytes() - baseline
    if growth > MAX_GROWTH_BYTES:
        raise Finding(target.name, f"memory grew by {growth // MIB} MiB in {count} inputs")
    return Outcome(count, growth)


def keep(pool: list[bytes], data: bytes, valid: int, rng: Random) -> None:
    """Let changes pile up: the input may be changed again; those it all began with stay."""
    if len(pool) < MAX_POOL:
        pool.append(data)
    else:
        pool[rng.randrange(min(valid, MAX_POOL - 1), MAX_POOL)] = data


def _kept(folder: Path, data: bytes) -> Path:
    path = folder / f"finding-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path
