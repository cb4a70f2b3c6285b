"""How well the index foretells what real engines take from their caches."""
