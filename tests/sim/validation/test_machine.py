"""What the cores did."""

import os
import time

from sim.validation.machine import MachineWatch


def test_our_own_work_is_not_somebody_elses() -> None:
    """A second of one core, which belongs to this process; the rest may be anybody's."""
    watch = MachineWatch(os.getsid(0))
    until_s = time.process_time() + 1.0
    while time.process_time() < until_s:
        pass

    found = watch.stop()

    own_share = 1.0 / (found.seconds * found.cores)
    assert 0 <= found.steal_share <= 1
    # The kernel accounts in ticks, and late when every core is busy.
    assert 0 <= found.foreign_share <= 1.2 - own_share
