"""The order of what is to happen."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sim.agenda import Agenda


@given(st.lists(st.sampled_from([0.0, 0.5, 0.5, 1.0, 2.0])))
def test_callbacks_come_by_time_and_at_equal_times_as_they_were_put(times: list[float]) -> None:
    """So nothing depends on how a heap lays out equal times."""
    agenda, done = Agenda(), list[tuple[float, int]]()
    for number, time_s in enumerate(times):
        agenda.at(time_s, lambda made=(time_s, number): done.append(made))  # type: ignore[misc]

    seen = []
    while agenda.next_s < math.inf:
        seen.append(agenda.next_s)
        agenda.pop()()

    assert done == sorted(done)
    assert seen == sorted(times)


def test_what_a_callback_puts_on_is_called_too() -> None:
    """That is how things happen again and again."""
    agenda, done = Agenda(), list[float]()

    def again(time_s: float) -> None:
        done.append(time_s)
        if time_s < 3:
            agenda.at(time_s + 1, lambda: again(time_s + 1))

    agenda.at(0.0, lambda: again(0.0))
    while agenda.next_s < math.inf:
        agenda.pop()()

    assert done == [0, 1, 2, 3]
