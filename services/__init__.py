"""Farsight's services: one process per package, `python -m services.<name>`."""
