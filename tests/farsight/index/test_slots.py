"""Who gets which slot, and when one that was given back is clean."""

import numpy as np

from farsight.index.slots import Slots
from farsight.index.tables import DEVICE, Tables
from tests.farsight.index.messages import key_array


def test_an_emptied_slot_waits_for_the_sweep_that_limits_it() -> None:
    """The rest of that sweep would take blocks from the endpoint that has the slot next."""
    tables = Tables()
    slots = Slots(tables)
    table = tables.find(DEVICE, 0)
    assert table is not None
    slot = slots.take()
    table.add(slot, key_array(1), np.array([9], np.uint8))
    slots.limit(slot, -1)
    assert not slots.sweep(1)

    table.remove(slot, key_array(1))
    slots.release(slot)
    next_slot = slots.take()
    table.add(next_slot, key_array(1, 2, 3), np.array([9, 9, 9], np.uint8))
    while not slots.sweep():
        pass

    assert next_slot != slot
    assert table.held(next_slot) == 3
    assert slots.take() == slot
