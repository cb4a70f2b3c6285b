"""The engine model: vLLM's scheduler and KV cache as Numba kernels over arrays."""
