"""`make demo`: the whole system on this machine, compared with round-robin on the same pods."""
