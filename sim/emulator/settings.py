"""What `farsight emulate` can be told."""

import math
from dataclasses import dataclass

from farsight.errors import InvalidField
from sim.engine.spec import EngineSpec

MAX_PODS = 1000
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """One process of emulated pods.

    :raises InvalidField: a field is out of range, or two port ranges overlap.
    """

    spec: EngineSpec
    model: str = "emulated"
    loras: tuple[str, ...] = ()
    """Adapters that are served beside the model."""
    max_model_tokens: int = 0
    """Longest sequence; 0: the KV cache, at most 131,072."""
    pods: int = 1
    host: str = "127.0.0.1"
    base_port: int = 0
    """HTTP port of the first pod, the others follow; 0 takes free ones, here and below."""
    events_base_port: int = 0
    replay_base_port: int = 0
    speed: float = 1.0
    """Seconds of the engines in one second."""
    output_tokens: int = 256
    """Mean length of answers that end by themselves, which those with `ignore_eos` do not."""
    seed: int = 0
    drain_s: float = 5.0
    """Longest wait for running requests at the end."""

    def __post_init__(self) -> None:
        if not 1 <= self.pods <= MAX_PODS:
            raise InvalidField("pods", f"1 to {MAX_PODS}")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise InvalidField("speed", "a factor above 0")
        if self.output_tokens < 1:
            raise InvalidField("output_tokens", "at least 1")
        if not (math.isfinite(self.drain_s) and self.drain_s >= 0):
            raise InvalidField("drain_s", "seconds, 0 or more")
        if not 0 <= self.max_model_tokens <= self.room_tokens:
            raise InvalidField("max_model_tokens", f"at most the KV cache, {self.room_tokens}")
        if not self.model:
            raise InvalidField("model", "a name")
        if not all(self.loras) or len({self.model, *self.loras}) <= len(self.loras):
            raise InvalidField("lora", "names that differ from each other and from the model's")
        self._check_ports()

    def _check_ports(self) -> None:
        taken: set[int] = set()
        for field in ("base_port", "events_base_port", "replay_base_port"):
            first = getattr(self, field)
            if not first:
                continue
            ports = range(first, first + self.pods)
            if first < 0 or ports[-1] > _MAX_PORT:
                raise InvalidField(field, f"{self.pods} ports up to {_MAX_PORT}")
            if not taken.isdisjoint(ports):
                raise InvalidField(field, "ports that no other range has")
            taken.update(ports)

    @property
    def url_host(self) -> str:
        """The host as URLs have it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def room_tokens(self) -> int:
        """Tokens that the whole blocks of the KV cache hold."""
        return self.spec.blocks * self.spec.block_tokens

    @property
    def limit_tokens(self) -> int:
        """Longest sequence of prompt and answer."""
        return self.max_model_tokens or min(self.room_tokens, 131_072)
