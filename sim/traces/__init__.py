"""Readers of public request traces."""
