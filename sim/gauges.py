"""Queue depth and batch size of all pods, sampled at a fixed interval."""

import numpy as np

from sim.agenda import Agenda
from sim.clock import VirtualClock
from sim.engine.engines import Engines

INTERVAL_S = 0.25


class GaugeSampler:
    """Means per pod since the last reset."""

    def __init__(self, engines: Engines, clock: VirtualClock, agenda: Agenda) -> None:
        self._engines = engines
        self._clock = clock
        self._agenda = agenda
        self._sums = np.zeros(2)
        self._samples = 0

    def start(self) -> None:
        """Sample from now on."""
        rows = self._engines.state.engines
        self._sums += rows["waiting"].mean(), rows["running"].mean()
        self._samples += 1
        self._agenda.at(self._clock.now_s + INTERVAL_S, self.start)

    def reset(self) -> None:
        """Forget the samples so far."""
        self._sums[:] = 0
        self._samples = 0

    def means(self) -> tuple[float | None, float | None]:
        """Waiting and running requests of a pod; None without a sample."""
        if not self._samples:
            return None, None
        waiting, running = (self._sums / self._samples).tolist()
        return waiting, running
