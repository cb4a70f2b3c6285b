"""Where the programs and files of a local fleet are."""

import shutil
import sys
from pathlib import Path

from farsight.local.errors import MissingProgram

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CACHE_DIR = PROJECT_ROOT / ".cache"
ENGINE_PYTHON = PROJECT_ROOT / ".venv-vllm" / "bin" / "python"


def program(name: str) -> str:
    """Path of a program beside this interpreter, else on the PATH.

    :raises MissingProgram: it is in neither place.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise MissingProgram(name)
    return found


def model_dir(size: str) -> Path:
    """Where `make model` puts the model of a size."""
    return CACHE_DIR / "models" / size
