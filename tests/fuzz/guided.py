"""The fuzzer with coverage: atheris looks for inputs that reach new code.

The process ends with the run: code 0, or another one after a finding, whose input lies in the
folder.
"""

import os
from pathlib import Path
from random import Random

import atheris

from tests.fuzz import registry
from tests.fuzz.mutation import mutate

MAX_INPUT_BYTES = 16384
HANG_S = 60
# Instrumented code loses some memory with each input; `rounds` judges the target's own.
MAX_MEMORY_MIB = 8192


def fuzz(name: str, seconds: float, folder: Path) -> None:
    """Fuzz one target, whose modules are not imported yet, for a time; never returns."""
    guide = registry.TARGETS[name]
    kernels: list[str] = []
    if guide.kernels_as_python:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    else:
        kernels = _kernel_modules()
    with atheris.instrument_imports(include=list(guide.packages), exclude=kernels):
        target = registry.load(name)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(target.seeds):
        (corpus / f"seed-{i}").write_bytes(seed)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(data, target.seeds, target, rng)[:max_size]

    arguments = [
        *("fuzz", f"-max_total_time={seconds:.0f}", f"-max_len={MAX_INPUT_BYTES}"),
        *(f"-timeout={HANG_S}", f"-rss_limit_mb={MAX_MEMORY_MIB}"),
        *(f"-artifact_prefix={folder}/", "-print_final_stats=1", str(corpus)),
    ]
    atheris.Setup(arguments, target.run, custom_mutator=change)
    atheris.Fuzz()


def _kernel_modules() -> list[str]:
    """Modules that Numba compiles, which it cannot when they are instrumented."""
    sources = (path for top in ("farsight", "services") for path in Path(top).rglob("*.py"))
    return [".".join(path.with_suffix("").parts) for path in sources if "njit" in path.read_text()]
