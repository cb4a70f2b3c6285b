"""The simulated pods as the control plane names them: records, epochs, LoRA adapters."""

from collections.abc import Sequence

from farsight.discovery import encode_record
from farsight.keys import CANONICAL_BLOCK_TOKENS, seed_of
from farsight.pb.records_pb2 import EndpointRecord
from sim.engine.spec import EngineSpec

MODEL = "sim"


class Pods:
    """Owns who is registered; pod `i` is engine `i`."""

    def __init__(self, specs: Sequence[EngineSpec], loras: Sequence[str]) -> None:
        self._specs = tuple(specs)
        self._loras = tuple(loras)
        width = max(3, len(str(len(specs) - 1)))
        self.ids = tuple(f"pod-{i:0{width}}" for i in range(len(specs)))
        self.number_of = {endpoint_id: i for i, endpoint_id in enumerate(self.ids)}
        self.epochs = [1] * len(specs)
        self._registered = set(range(len(specs)))
        self._seeds: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def lora_number(self, lora: str) -> int:
        """Number of an adapter, -1 for the base model."""
        return self._loras.index(lora) if lora else -1

    def seed(self, lora: str) -> int:
        """What block keys of the model or adapter are chained from."""
        if lora not in self._seeds:
            self._seeds[lora] = seed_of(MODEL, lora, CANONICAL_BLOCK_TOKENS)
        return self._seeds[lora]

    def is_registered(self, pod: int) -> bool:
        """It has a record."""
        return pod in self._registered

    def withdraw(self, pod: int) -> None:
        """Its lease ran out."""
        self._registered.discard(pod)

    def register_again(self, pod: int) -> None:
        """A new process is up: a new epoch."""
        self.epochs[pod] += 1
        self._registered.add(pod)

    def records(self) -> dict[str, bytes]:
        """What etcd holds."""
        return {self.ids[i]: encode_record(self._record(i)) for i in sorted(self._registered)}

    def _record(self, pod: int) -> EndpointRecord:
        spec = self._specs[pod]
        return EndpointRecord(
            endpoint_id=self.ids[pod],
            url=f"http://{self.ids[pod]}:8000",
            pool=spec.pool,
            model=MODEL,
            lora_names=self._loras,
            block_size_tokens=spec.block_tokens,
            kv_blocks=spec.blocks,
            accelerator=spec.accelerator,
            epoch=self.epochs[pod],
            model_fingerprint=MODEL,
            key_block_tokens=CANONICAL_BLOCK_TOKENS,
        )
