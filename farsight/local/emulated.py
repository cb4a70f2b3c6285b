"""How an emulated pod is started: a modelled engine behind what a vLLM server shows to others."""

import sys
from pathlib import Path

from farsight.local.engine import EngineSpec
from farsight.local.process import Command
from farsight.local.programs import PROJECT_ROOT, model_dir

HARDWARE = "cpu-demo"  # models the demo's vLLM pods
TOKENIZER_DIR: Path = model_dir("tokenizer")


def emulator_command(spec: EngineSpec, hardware: str = HARDWARE) -> Command:
    """The pod's process; `spec.model` is a directory with a tokenizer."""
    # vLLM keeps one of its blocks as a placeholder.
    kv_tokens = (spec.kv_blocks - 1) * spec.block_tokens
    return Command(
        name=spec.name,
        argv=(
            *(sys.executable, "-m", "sim.emulator"),
            *("--model", spec.served_model),
            *("--tokenizer", str(spec.model.resolve())),
            *("--hardware", hardware),
            *("--base-port", str(spec.port)),
            *("--events-base-port", str(spec.events_port)),
            *("--replay-base-port", str(spec.replay_port)),
            *("--block-tokens", str(spec.block_tokens)),
            *("--kv-tokens", str(kv_tokens)),
            *("--max-model-tokens", str(spec.max_model_tokens)),
            *("--max-sequences", str(spec.max_requests)),
        ),
        env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        cwd=PROJECT_ROOT,
    )
