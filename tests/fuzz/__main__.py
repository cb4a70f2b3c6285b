"""`python -m tests.fuzz TARGET`: fuzz one target for a time, or run one input again.

With NUMBA_BOUNDSCHECK=1 (and a NUMBA_CACHE_DIR of its own) a kernel that reads or writes beside an
array is a finding too.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz import registry
from tests.fuzz.rounds import Finding, fuzz

FOLDER = Path("build/fuzz")


def main() -> int:
    """Exit code 0, or 1 after a finding."""
    options = _options()
    folder: Path = options.folder / options.target
    if options.replay is not None:
        registry.load(options.target).run(options.replay.read_bytes())
        return 0
    if options.guided:
        from tests.fuzz import guided

        guided.fuzz(options.target, options.seconds, folder)
    target = registry.load(options.target)
    found = [path.read_bytes() for path in sorted((folder / "corpus").glob("*"))]
    try:
        outcome = fuzz(target, options.seconds, options.seed, folder, found)
    except Finding as finding:
        sys.stderr.write(f"{finding}\n")
        return 1
    growth_mib = outcome.growth_bytes / (1 << 20)
    sys.stdout.write(f"{target.name}: {outcome.inputs} inputs, memory {growth_mib:+.1f} MiB\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Fuzz one target.")
    parser.add_argument("target", choices=registry.TARGETS)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="default: another one")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of findings and corpora")
    parser.add_argument(
        "--guided", action="store_true", help="by coverage; needs `make fuzz`'s atheris"
    )
    parser.add_argument("--replay", type=Path, help="run this input and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
