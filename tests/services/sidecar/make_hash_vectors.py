"""Makes hash_vectors.json with the real vLLM: `.venv-vllm/bin/python <this file>`.

vLLM takes `xxhash` for two of its algorithms, which has to be installed beside it.

For each hash algorithm and seed, the batch bodies that a block pool publishes for a few prompts.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import torch
from vllm import envs
from vllm.distributed.kv_events import KVEventBatch
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.block_pool import BlockPool
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.request import Request

TABLE = Path(__file__).with_name("hash_vectors.json")
CASES = [
    (algorithm, seed, as_int)
    for algorithm in ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor")
    for seed in ("", "42")
    for as_int in (True, False)
    if seed or algorithm.startswith("sha256")
]


def image(name: str, offset: int, length: int) -> MultiModalFeatureSpec:
    """Placeholder tokens of an image."""
    return MultiModalFeatureSpec(None, "image", name, PlaceholderRange(offset, length))


PROMPTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "salt": {"cache_salt": "tenant-\u00e4"},
    "images": {"mm_features": [image("cat", 5, 40), image("dog", 45, 3)], "cache_salt": "s"},
    "embeds": {"prompt_embeds": torch.zeros(70, 2)},
    "coarse": {},
}


def bodies(algorithm: str) -> dict[str, str]:
    """Bodies as hex, by what is special about the prompt."""
    hash_fn = get_hash_fn_by_name(algorithm)
    init_none_hash(hash_fn)
    made = {}
    for name, fields in PROMPTS.items():
        block_size = 32 if name == "coarse" else 16
        request = Request(
            name,
            [(i * 7919) % 150_000 for i in range(70)],
            SamplingParams(max_tokens=1),
            None,
            block_hasher=get_request_block_hasher(16, hash_fn),
            **fields,
        )
        pool = BlockPool(20, True, 16, enable_kv_cache_events=True)
        full = 70 // block_size
        pool.cache_full_blocks(request, pool.get_new_blocks(full), 0, full, block_size, 0)
        if name == "coarse":  # beside a finer group
            pool.cache_full_blocks(request, pool.get_new_blocks(4), 0, 4, 16, 1)
        batch = KVEventBatch(ts=1.0, events=pool.take_events(), data_parallel_rank=0)
        made[name] = msgspec.msgpack.encode(batch).hex()
    return made


def main() -> None:
    """Write the table."""
    table = []
    for algorithm, seed, as_int in CASES:
        os.environ["VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES"] = str(int(as_int))
        assert bool(envs.VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES) == as_int
        os.environ.pop("PYTHONHASHSEED", None)
        if seed:
            os.environ["PYTHONHASHSEED"] = seed
        table.append({"algorithm": algorithm, "seed": seed, "bodies": bodies(algorithm)})
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
