"""Fits latency bundles from samples and publishes those that pass the gate."""
