"""A whole fleet on this machine: real etcd, NATS, vLLM pods and every service, as processes.

Used by the demo, the end-to-end tests and the benchmarks. It starts services, never imports them.
"""
