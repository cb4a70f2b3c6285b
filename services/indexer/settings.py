"""Settings of the indexer."""

from farsight.settings import ServiceSettings


class IndexerSettings(ServiceSettings):
    """The indexer needs nothing beyond the common settings: it learns everything from NATS."""
