"""The simulator against a real engine: calibrate on a vLLM pod, predict a second workload on it."""
