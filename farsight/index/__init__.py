"""The KV index: what every endpoint holds, built from NATS; for indexer and embedders."""
