"""`python -m services.trainer`."""

from farsight.runtime import run
from services.trainer.service import build
from services.trainer.settings import TrainerSettings

if __name__ == "__main__":
    run("trainer", TrainerSettings, build)
