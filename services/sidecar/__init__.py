"""One process beside each engine rank: its record, the mirror of its KV cache, its load."""
