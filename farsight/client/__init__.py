"""The Route API for applications: one client over every router replica."""

from farsight.client.router import Decision, RouterClient

__all__ = ["Decision", "RouterClient"]
