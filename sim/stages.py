"""Plays the stages of a workload: starts sessions at their times, within the users' bound."""

from collections.abc import Iterator

from sim.agenda import Agenda
from sim.clients import Clients
from sim.clock import VirtualClock
from sim.offered import Offered, Session


class StagePlayer:
    """One stage after the other; sessions are drawn when they are due, never all at once."""

    def __init__(
        self, offered: Offered, clients: Clients, clock: VirtualClock, agenda: Agenda
    ) -> None:
        self._stages = iter(offered.stages)
        self._max_sessions = offered.max_sessions
        self._clients = clients
        self._clock = clock
        self._agenda = agenda
        self._sessions: Iterator[Session] = iter(())
        self._next: Session | None = None
        self._active = 0
        self._start_s = 0.0
        self.number = -1
        self.label = ""
        self.offered_per_s = 0.0
        self.is_measured = False
        clients.max_in_flight = offered.max_in_flight

    @property
    def is_over(self) -> bool:
        """Every session of the stage has ended."""
        return self._next is None and self._active == 0

    def next_stage(self) -> bool:
        """Begin the next stage; False when there is none."""
        stage = next(self._stages, None)
        if stage is None:
            return False
        self.number += 1
        self.label, self.offered_per_s = stage.label, stage.offered_per_s
        self.is_measured = stage.is_measured
        self._start_s = self._clock.now_s
        self._clients.stage = self.number
        self._clients.stage_start_s = self._start_s
        self._sessions = iter(stage.sessions)
        self._draw()
        return True

    def _draw(self) -> None:
        """Have the next session ready and be called when it is due."""
        self._next = next(self._sessions, None)
        if self._next is not None:
            due_s = self._start_s + self._next.turns[0].at_s
            if due_s > self._clock.now_s or self._has_room:
                self._agenda.at(max(due_s, self._clock.now_s), self._begin_due)

    @property
    def _has_room(self) -> bool:
        return self._max_sessions is None or self._active < self._max_sessions

    def _begin_due(self) -> None:
        session = self._next
        if session is None or not self._has_room:
            return
        if self._start_s + session.turns[0].at_s > self._clock.now_s:
            return
        self._active += 1
        self._clients.begin(session)
        self._draw()

    def session_ended(self) -> None:
        """There is room for one more."""
        self._active -= 1
        if self._max_sessions is not None:
            self._begin_due()
