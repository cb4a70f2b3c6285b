"""The `farsight` command: what the fleet is, what a decision looks like, how it goes."""
