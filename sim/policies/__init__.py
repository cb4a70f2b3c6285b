"""One file per routing policy, which `sim.policy` loads by its name."""
