"""The KV index as a service."""
