"""The endpoints of one model, as columns that hold until the fleet changes."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from farsight.keys import seed_of
from farsight.pb.records_pb2 import EndpointRecord

Rows = npt.NDArray[np.intp]
Label = TypeVar("Label", bound=Hashable)
_seed_of = lru_cache(maxsize=4096)(seed_of)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One engine rank, from its record."""

    endpoint_id: str
    url: str
    pool: str
    model: str
    lora_names: tuple[str, ...]
    data_parallel_rank: int
    accelerator: str
    block_size_tokens: int
    key_block_tokens: int
    model_fingerprint: str
    max_model_len_tokens: int
    tokenizer: str
    epoch: int


def endpoint_of(record: EndpointRecord) -> Endpoint:
    """The part of a record that routing needs."""
    return Endpoint(
        record.endpoint_id,
        record.url,
        record.pool,
        record.model,
        tuple(record.lora_names),
        record.data_parallel_rank,
        record.accelerator,
        record.block_size_tokens,
        record.key_block_tokens,
        record.model_fingerprint or record.model,
        record.max_model_len_tokens,
        record.tokenizer,
        record.epoch,
    )


@dataclass(frozen=True, slots=True)
class Namespace:
    """Endpoints on which a prompt has the same block keys."""

    seed: int
    block_tokens: int
    rows: Rows
    endpoint_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """Endpoints that serve a model or adapter, sorted by id; at least one."""

    model: str
    """As requests name it: a base model or an adapter."""
    generation: int
    """Of the fleet that it was made from."""
    endpoints: tuple[Endpoint, ...]
    endpoint_ids: tuple[str, ...]
    slots: Rows
    """Columns of the fleet's state."""
    block_size_tokens: npt.NDArray[np.float64]
    namespaces: tuple[Namespace, ...]
    accelerators: tuple[tuple[str, Rows], ...]
    """Rows by accelerator label."""
    max_model_len_tokens: int
    """Of the endpoint that takes the longest prompt; 0 when one does not say."""

    @classmethod
    def of(
        cls, model: str, generation: int, endpoints: Sequence[Endpoint], slots: Sequence[int]
    ) -> "Roster":
        """The roster of at least one endpoint."""
        ids = tuple(e.endpoint_id for e in endpoints)
        limits = [e.max_model_len_tokens for e in endpoints]
        return cls(
            model,
            generation,
            tuple(endpoints),
            ids,
            np.array(slots, np.intp),
            np.array([e.block_size_tokens for e in endpoints], np.float64),
            tuple(
                Namespace(seed, block_tokens, rows, tuple(ids[row] for row in rows))
                for (seed, block_tokens), rows in _grouped(_namespace(model, e) for e in endpoints)
            ),
            tuple(_grouped(e.accelerator for e in endpoints)),
            max(limits) if all(limits) else 0,
        )

    def __len__(self) -> int:
        return len(self.endpoints)

    @property
    def base_model(self) -> str:
        """The served model; it differs from `model` for an adapter."""
        return self.endpoints[0].model

    def without(self, excluded: Collection[str]) -> "Roster | None":
        """The roster less some endpoints; None when none is left."""
        kept = [row for row, e in enumerate(self.endpoint_ids) if e not in excluded]
        if not kept:
            return None
        endpoints = [self.endpoints[row] for row in kept]
        return Roster.of(self.model, self.generation, endpoints, self.slots[kept].tolist())


def _namespace(model: str, endpoint: Endpoint) -> tuple[int, int]:
    lora = model if model in endpoint.lora_names else ""
    block_tokens = endpoint.key_block_tokens
    return _seed_of(endpoint.model_fingerprint, lora, block_tokens), block_tokens


def _grouped(labels: Iterable[Label]) -> list[tuple[Label, Rows]]:
    rows: dict[Label, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return [(label, np.array(found, np.intp)) for label, found in rows.items()]
