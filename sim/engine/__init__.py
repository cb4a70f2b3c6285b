"""The engine model: vLLM's scheduler and KV cache as Numba kernels over arrays."""

from pathlib import Path

from sim.engine.kernel_cache import drop_stale

drop_stale(Path(__file__).parent)
