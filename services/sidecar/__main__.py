"""`python -m services.sidecar`."""

from farsight.runtime import run
from services.sidecar.service import build
from services.sidecar.settings import SidecarSettings

if __name__ == "__main__":
    run("sidecar", SidecarSettings, build)
