"""Settings of the sidecar that depend on each other or travel."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.sidecar.settings import SidecarSettings


def settings(**fields: Any) -> SidecarSettings:
    """Settings of one endpoint."""
    return SidecarSettings.model_validate({"endpoint_id": "pod", **fields})


@pytest.mark.parametrize("algorithm", ["xxhash", "xxhash_cbor"])
def test_xxhash_needs_the_seed_of_the_engine(algorithm: str) -> None:
    """Without one every engine process hashes differently."""
    with pytest.raises(ValidationError, match="PYTHONHASHSEED"):
        settings(prefix_hash_algorithm=algorithm)

    assert settings(prefix_hash_algorithm=algorithm, prefix_hash_seed="0").prefix_hash_seed == "0"


@pytest.mark.parametrize("algorithm", ["auto", "sha256", "sha256_cbor", "off"])
def test_sha256_has_a_seed_of_its_own(algorithm: str) -> None:
    """vLLM hashes a fixed text."""
    assert settings(prefix_hash_algorithm=algorithm).prefix_hash_seed == ""


@pytest.mark.parametrize("pool", ["a b", "ü", "x" * 257, "line\n"])
def test_a_storage_pool_is_a_short_printable_name(pool: str) -> None:
    """It travels in every heartbeat."""
    with pytest.raises(ValidationError, match="storage_pool"):
        settings(storage_pool=pool)

    assert settings(storage_pool="nfs://host/kv?model=a").storage_pool == "nfs://host/kv?model=a"
