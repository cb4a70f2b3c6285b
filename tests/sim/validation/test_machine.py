"""What the cores did."""

import os
import time

from sim.validation.machine import MachineWatch


def test_our_own_work_is_not_somebody_elses() -> None:
    """A fifth of a second of one core, which belongs to this process."""
    watch = MachineWatch(os.getsid(0))
    until_s = time.process_time() + 0.2
    while time.process_time() < until_s:
        pass

    found = watch.stop()

    own_share = 0.2 / (found.seconds * found.cores)
    assert 0 <= found.steal_share <= 1
    assert 0 <= found.foreign_share <= 1.05 - own_share
