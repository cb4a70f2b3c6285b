"""Rows of requests."""

import numpy as np

from sim.request_log import ROW, RequestLog, Status


def values(number: int) -> tuple[float, ...]:
    """A row whose every field says which request it is."""
    fields = len(ROW.names or ())
    return (*[float(number)] * (fields - 3), Status.COMPLETED, 1.0, 2.0)


def test_rows_are_in_the_order_in_which_requests_began() -> None:
    """However late they are written, and however many there are."""
    log = RequestLog()
    numbers = [log.begin() for _ in range(3000)]

    for number in reversed(numbers):
        log.write(number, values(number))

    assert numbers == list(range(3000))
    assert len(log) == len(log.rows) == 3000
    assert np.array_equal(log.rows["arrived_s"], np.arange(3000.0))


def test_a_row_that_was_begun_is_there_before_it_is_written() -> None:
    """As zeros, so a reader in the middle of a run sees no old memory."""
    log = RequestLog()
    log.begin()

    assert len(log.rows) == 1
    assert log.rows[0]["ended_s"] == 0
