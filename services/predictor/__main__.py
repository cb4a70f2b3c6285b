"""`python -m services.predictor`."""

from farsight.runtime import run
from services.predictor.service import build
from services.predictor.settings import PredictorSettings

if __name__ == "__main__":
    run("predictor", PredictorSettings, build)
