"""What was sent to the pod and what came back, and the files that keep it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class PodSizes:
    """The pod's sizes, as its command line sets them."""

    block_tokens: int = 32
    kv_blocks: int = 300
    max_model_tokens: int = 4096
    max_requests: int = 32
    max_batched_tokens: int = 2048
    """vLLM's own default for its HTTP server on a CPU."""

    @property
    def usable_blocks(self) -> int:
        """vLLM keeps one block as a placeholder."""
        return self.kv_blocks - 1


@dataclass(frozen=True, slots=True)
class Machine:
    """What else the cores did while something was measured, as shares of all of their time."""

    seconds: float
    cores: int
    steal_share: float
    foreign_share: float
    """Busy, but neither the pod nor its client."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One answered request, as its client saw it; times are seconds on one clock."""

    label: str
    sent_s: float
    prompt: list[int]
    output: list[int]
    token_s: list[float]
    """When each output token came."""
    cached_tokens: int

    @property
    def ttft_s(self) -> float:
        """From sending to the first token."""
        return self.token_s[0] - self.sent_s

    @property
    def e2e_s(self) -> float:
        """From sending to the last token."""
        return self.token_s[-1] - self.sent_s


@dataclass(frozen=True, slots=True)
class Pass:
    """The workload between two parts of the calibration, which saw the same machine.

    The pod's cache was empty before each list; a list is in the order of sending.
    """

    calibration: list[list[Observation]]
    workload: list[Observation]
    machine: Machine


@dataclass(frozen=True, slots=True)
class Recording:
    """One session on one pod."""

    sizes: PodSizes
    passes: list[Pass]


_FILE = "recording.json"


def save(recording: Recording, directory: Path) -> None:
    """Write it under `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = directory / f".{_FILE}"
    unfinished.write_bytes(msgspec.json.encode(recording))
    unfinished.rename(directory / _FILE)


def load(directory: Path) -> Recording:
    """Read what `save` wrote.

    :raises OSError: there is none.
    :raises msgspec.ValidationError: it is of another version.
    """
    return msgspec.json.decode((directory / _FILE).read_bytes(), type=Recording)
