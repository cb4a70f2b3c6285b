"""The fleet simulator: real routing decisions over modelled engines, in virtual time."""
