"""Benchmarks of the services on real sockets; the simulator measures policies."""
