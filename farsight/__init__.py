"""The library that Farsight's services, clients and tools share."""

__version__ = "0.1.0"
