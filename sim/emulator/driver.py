"""Moves the modelled engines along with the clock.

One task owns the engines of all pods. It sleeps until a step ends or a request comes, lets the
engines do what is due, tells the requests of their new tokens, and publishes what the steps that
have ended changed in the caches. Whoever submits or aborts first lets what is due happen, so that
a request never gets into a step that began before it came.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from sim.emulator.kv_events import AllBlocksCleared, KvEvent, StepEvents, by_step
from sim.emulator.run import Job, Run
from sim.engine.engines import Engines, Event, Gauges, Kind, Progress
from sim.engine.layout import NONE
from sim.engine.spec import EngineSpec


class Observer(Protocol):
    """Who is told about one pod; durations are seconds of the wall clock."""

    def first_token(self, run: Run, progress: Progress) -> None:
        """The prompt is computed."""

    def tokens(self, count: int, gap_s: float) -> None:
        """Further tokens of one answer, `gap_s` apart."""

    def ended(self, run: Run, progress: Progress, took_s: float) -> None:
        """The request has ended; aborted when it is not `finished`."""

    def publish(self, events: Sequence[KvEvent]) -> None:
        """A step has ended that changed the cache."""


class Driver:
    """Owns the engines, one for each observer."""

    def __init__(
        self,
        spec: EngineSpec,
        observers: Sequence[Observer],
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.engines = Engines([spec] * len(observers))
        self._observers = observers
        self._speed = speed
        self._clock = clock
        self._start_s = clock()
        self._wake = asyncio.Event()
        self._runs: dict[int, Run] = {}
        self._slots = np.empty(0, np.int64)
        self._seen = np.empty(0, np.int64)
        self._outbox: deque[StepEvents] = deque()
        self._cleared: set[int] = set()
        """Pods whose next step announces that the cache is empty."""

    @property
    def now_s(self) -> float:
        """Time of the engines."""
        return (self._clock() - self._start_s) * self._speed

    @property
    def runs(self) -> Sequence[Run]:
        """Requests in the engines."""
        return tuple(self._runs.values())

    async def run(self) -> None:
        """Move the engines until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.catch_up()
            self._wake.clear()
            wait_s = (self.engines.next_s - self.now_s) / self._speed
            if wait_s <= 0:
                await asyncio.sleep(0)
                continue
            # The event loop counts milliseconds; waking too early would be for nothing.
            timer = (
                loop.call_later(math.ceil(wait_s * 1000) / 1000, self._wake.set)
                if math.isfinite(wait_s)
                else None
            )
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def submit(self, job: Job, pod: int) -> Run:
        """Queue a job; it can never be longer than the KV cache."""
        self.catch_up()
        run = Run(job, pod, self.now_s)
        run.slot = self.engines.submit(
            pod,
            job.keys,
            job.prompt.size,
            job.answer.size,
            run.arrived_s,
            job.adapter.number - 1 if job.adapter else NONE,
        )
        self._runs[run.slot] = run
        self._list_slots()
        self._wake.set()
        return run

    def abort(self, run: Run) -> None:
        """Take a request out of its engine; nothing when it has ended."""
        self.catch_up()
        if run.slot is not None:
            self._end(run, self.now_s)
            self._list_slots()

    def clear_cache(self, pod: int) -> bool:
        """Empty a pod's prefix cache; False while requests hold blocks.

        It is announced as vLLM does it: with the next step.
        """
        self.catch_up()
        if not self.engines.empty_cache(pod):
            return False
        pending = [batch for batch in self._outbox if batch.pod == pod]
        if pending:
            pending[-1].events.append(AllBlocksCleared())
        else:
            self._cleared.add(pod)
        return True

    def gauges(self, pod: int) -> Gauges:
        """Load of a pod."""
        return self.engines.gauges(pod)

    def preemptions(self, pod: int) -> int:
        """Preemptions of a pod's requests in flight."""
        slots = (slot for slot, run in self._runs.items() if run.pod == pod)
        return sum(self.engines.progress(slot).preemptions for slot in slots)

    def _list_slots(self) -> None:
        runs = self._runs
        self._slots = np.fromiter(runs, np.int64, len(runs))
        self._seen = np.fromiter((run.generated for run in runs.values()), np.int64, len(runs))

    def catch_up(self) -> None:
        """Everything that is due happens."""
        now_s = self.now_s
        reached_s = -math.inf
        while reached_s < now_s:
            reached_s = self.engines.advance(now_s, stops_at_events=False)
            self._take_events()
            stepped = self._take_tokens()
            self._take_kv_changes()
            self._drop_ended()
            self.engines.clear_taken()
            self._announce_cleared(stepped, reached_s)
            self._publish(reached_s)

    def _take_events(self) -> None:
        for event in self.engines.take_events():
            if event.kind is Kind.FIRST_TOKEN and (run := self._runs.get(event.request)):
                self._begin(run, event)

    def _begin(self, run: Run, event: Event) -> None:
        progress = self.engines.progress(event.request)
        run.cached_tokens = progress.cached_tokens
        run.last_token_s = event.time_s
        run.ttft_s = (event.time_s - run.arrived_s) / self._speed
        self._observers[run.pod].first_token(run, progress)

    def _take_tokens(self) -> set[int]:
        """Tell the requests whose answers have grown; returns their pods."""
        generated = self.engines.generated(self._slots)
        grown = np.flatnonzero(generated != self._seen)
        if not grown.size:
            return set()
        self._seen = generated
        stepped = set()
        for slot, count in zip(self._slots[grown].tolist(), generated[grown].tolist(), strict=True):
            run = self._runs[slot]
            self._note_gap(run, count)
            run.tell(count)
            stepped.add(run.pod)
        return stepped

    def _note_gap(self, run: Run, count: int) -> None:
        """Tokens after the first one were generated; the first is no gap."""
        further = count - max(run.generated, 1)
        if further > 0:
            assert run.slot is not None
            last_s = self.engines.last_token_s(run.slot)
            gap_s = (last_s - run.last_token_s) / further / self._speed
            self._observers[run.pod].tokens(further, gap_s)
            run.last_token_s = last_s

    def _take_kv_changes(self) -> None:
        changes = self.engines.take_kv_changes()
        if changes is None:
            return
        self._outbox.extend(by_step(changes, self.spec.block_tokens, self._runs.__getitem__))

    def _announce_cleared(self, stepped: set[int], until_s: float) -> None:
        """The first step after its cache was emptied announces that, before what it stored."""
        for pod in tuple(self._cleared):
            batch = next((batch for batch in self._outbox if batch.pod == pod), None)
            if batch and (batch.ends_s <= until_s or pod not in stepped):
                batch.events.insert(0, AllBlocksCleared())
            elif pod in stepped:
                self._outbox.append(StepEvents(pod, -math.inf, [AllBlocksCleared()]))
            else:
                continue
            self._cleared.remove(pod)

    def _publish(self, until_s: float) -> None:
        """Publish what the steps changed that have ended."""
        for _ in range(len(self._outbox)):
            batch = self._outbox.popleft()
            if batch.ends_s <= until_s:
                self._observers[batch.pod].publish(batch.events)
            else:
                self._outbox.append(batch)

    def _drop_ended(self) -> None:
        """Forget the requests whose answers are whole."""
        ended = [e for e in self.engines.take_events() if e.kind is Kind.FINISHED]
        for event in ended:
            self._end(self._runs[event.request], event.time_s)
        if ended:
            self._list_slots()

    def _end(self, run: Run, ended_s: float) -> None:
        assert run.slot is not None
        progress = self.engines.progress(run.slot)
        self.engines.release(run.slot)
        del self._runs[run.slot]
        run.slot = None
        took_s = (ended_s - run.arrived_s) / self._speed
        self._observers[run.pod].ended(run, progress, took_s)
