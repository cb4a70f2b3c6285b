"""The columns of a decoded batch of KV events, and the names that its columns point into.

The kernels take the columns from the type of the array: they are compiled anew when these change.
"""

import numpy as np

# One row per event. `*_at` and `*_end` are offsets in the body, `first_*` in the arrays of values.
EVENT = np.dtype(
    [
        ("kind", "i4"),  # index in TAGS
        ("medium", "i4"),  # index in MEDIUMS, -1 for another one
        ("spec_kind", "i4"),  # index in SPEC_KINDS, -1 for another one
        ("group", "i4"),
        ("block_tokens", "i4"),
        ("has_parent", "i4"),
        ("parent", "u8"),
        ("hashes_at", "i8"),
        ("first_hash", "i8"),
        ("hashes", "i8"),
        ("tokens_at", "i8"),
        ("first_token", "i8"),
        ("tokens", "i8"),
        ("window_tokens", "i8"),
        ("lora_at", "i8"),
        ("lora_end", "i8"),
        ("extras_at", "i8"),  # 0 when no block has any
        ("extras_end", "i8"),
        ("extras", "i8"),  # blocks that extras are told for, -1 when they are not told
    ],
    align=True,
)
FIELDS = (
    "type",
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
    "kv_cache_spec_kind",
    "kv_cache_spec_sliding_window",
)  # in the order of the array form of BlockStored
TAGS = ("BlockStored", "BlockRemoved", "AllBlocksCleared")
MEDIUMS = ("", "GPU", "CPU", "CPU_TIER1", "CPU_TIER2", "STORAGE")  # "" for nil
SPEC_KINDS = (
    "",
    "full_attention",
    "mla_attention",
    "sink_full_attention",
    "sliding_window",
    "sliding_window_mla",
    "mamba",
    "encoder_only_attention",
    "cross_attention",
    "chunked_local_attention",
)
