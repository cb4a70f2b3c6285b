"""`farsight emulate`: modelled engines in real time, behind what a vLLM server shows to others."""
