"""`farsight bench`: cells in, a result directory and its summary out."""
