"""Batches that the real vLLM has published, by hash algorithm and seed."""

import json
from pathlib import Path
from typing import Any

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("hash_vectors.json").read_text())


def body(algorithm: str, seed: str, prompt: str, form: int = 0) -> bytes:
    """A batch body; form 0 has numbers as hashes, 1 digests."""
    found = [case for case in CASES if (case["algorithm"], case["seed"]) == (algorithm, seed)]
    return bytes.fromhex(found[form]["bodies"][prompt])
