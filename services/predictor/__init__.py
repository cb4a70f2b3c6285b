"""Answers latency predictions from the live model bundles."""
