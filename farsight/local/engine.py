"""How a real vLLM pod is started on a CPU."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from farsight.local.process import Command
from farsight.local.programs import CACHE_DIR, ENGINE_PYTHON

SERVED_MODEL = "tiny"
KV_MEMORY = "512M"  # an upper bound: the pod takes what kv_blocks need


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One pod: its ports on loopback, and the sizes that decide when it evicts and queues."""

    name: str
    model: Path
    port: int
    events_port: int
    replay_port: int
    served_model: str = SERVED_MODEL
    block_tokens: int = 32
    kv_blocks: int = 400
    max_model_tokens: int = 4096
    max_requests: int = 32
    accelerator: str = "cpu"

    @property
    def url(self) -> str:
        """Base URL of its OpenAI API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def health_url(self) -> str:
        """Answers 200 when it serves."""
        return f"{self.url}/health"


def engine_command(
    spec: EngineSpec,
    temporary_dir: Path,
    python: Path = ENGINE_PYTHON,
    cache_dir: Path = CACHE_DIR,
) -> Command:
    """The pod's process. vLLM puts its sockets into `temporary_dir`, whose path has to be short
    (Unix sockets allow 107 bytes)."""
    return Command(spec.name, _argv(spec, python), _environment(temporary_dir, cache_dir))


def _argv(spec: EngineSpec, python: Path) -> tuple[str, ...]:
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{spec.events_port}",
        "replay_endpoint": f"tcp://*:{spec.replay_port}",
        "topic": f"kv@{spec.name}@{spec.served_model}",
    }
    return (
        *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
        # Sidecar and router open the tokenizer at the path that the engine reports.
        *("--model", str(spec.model.resolve())),
        *("--served-model-name", spec.served_model),
        *("--host", "127.0.0.1", "--port", str(spec.port)),
        *("--block-size", str(spec.block_tokens)),
        *("--num-gpu-blocks-override", str(spec.kv_blocks)),
        *("--kv-cache-memory-bytes", KV_MEMORY),
        *("--max-model-len", str(spec.max_model_tokens)),
        *("--max-num-seqs", str(spec.max_requests)),
        "--enforce-eager",
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
        *("--distributed-executor-backend", "uni"),
        *("--kv-events-config", json.dumps(events)),
    )


def _environment(temporary_dir: Path, cache_dir: Path) -> Mapping[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # The worker then lives in the engine process (executor "uni"): a third less to start.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # Serves /reset_prefix_cache.
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_CACHE_ROOT": str(cache_dir / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache_dir / "inductor"),
        "HF_HOME": str(cache_dir / "huggingface"),
        "XDG_CACHE_HOME": str(cache_dir / "xdg"),
        "TMPDIR": str(temporary_dir),
    }
