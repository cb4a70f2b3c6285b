"""One routing decision per request."""
