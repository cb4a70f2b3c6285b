"""Compile or load all kernels, so that no later call has to wait for that."""

import math

import numpy as np

from sim.engine.engines import Engines
from sim.engine.spec import EngineSpec, StepRates


def warm() -> None:
    """Run a request and abort another; the kernels of all fleets have the same types."""
    rates = StepRates(1.0, 0.0, 0.0, 0.0, 0.0)
    engines = Engines([EngineSpec(rates, kv_tokens=1024)])
    keys = np.ones(1, np.uint64)
    engines.submit(0, keys, 15, 1, 0.0)
    aborted = engines.submit(0, keys, 15, 1, 0.0)
    engines.release(aborted)
    engines.advance(math.nextafter(0.0, 1.0))
    engines.advance(10.0)
    engines.clear_taken()
