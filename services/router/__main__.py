"""`python -m services.router`."""

from farsight.runtime import run
from services.router.service import build
from services.router.settings import RouterSettings

if __name__ == "__main__":
    run("router", RouterSettings, build)
