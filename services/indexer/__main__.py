"""`python -m services.indexer`."""

from farsight.runtime import run
from services.indexer.service import build
from services.indexer.settings import IndexerSettings

if __name__ == "__main__":
    run("indexer", IndexerSettings, build)
