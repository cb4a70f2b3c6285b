"""`python -m services.gateway`."""

from farsight.runtime import run
from services.gateway.service import build
from services.gateway.settings import GatewaySettings

if __name__ == "__main__":
    run("gateway", GatewaySettings, build)
