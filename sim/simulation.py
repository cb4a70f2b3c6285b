"""One simulated run: engines, control plane and clients in virtual time."""

from dataclasses import dataclass, replace
from functools import partial
from random import Random

import numpy as np

from sim.agenda import Agenda
from sim.cells import StageFigures
from sim.clients import Clients
from sim.clock import VirtualClock
from sim.control_plane import ControlPlane
from sim.deciding import Decider
from sim.engine.engines import Engines
from sim.engine.layout import ITL_BINS
from sim.engine.spec import EngineSpec, TierSpec
from sim.environment import Environment, Fault
from sim.figures import Counts, Figures, figures
from sim.gauges import GaugeSampler
from sim.offered import Offered
from sim.oracle import Oracle
from sim.pods import Pods
from sim.policy import Policy
from sim.request_log import RequestLog
from sim.stages import StagePlayer


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated."""

    specs: tuple[EngineSpec, ...]
    storage: TierSpec | None
    policy: Policy
    environment: Environment
    seed: int
    loras: tuple[str, ...] = ()
    slo_ttft_ms: float | None = None
    """Target of requests that have none of their own."""
    slo_tpot_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    overall: Figures
    """Over the measured stages together; rates are means over their durations."""
    stages: tuple[StageFigures, ...]
    virtual_s: float
    decisions: int
    steps: int
    preemptions: int
    bundle_version: int


class Simulation:
    """Runs once; equal set-ups and loads give equal outcomes."""

    def __init__(self, setup: Setup, offered: Offered) -> None:
        random = Random(setup.seed)
        self._clock = VirtualClock()
        self._agenda = Agenda()
        self._engines = Engines(setup.specs, setup.storage)
        self._pods = Pods(setup.specs, setup.loras)
        self._environment = setup.environment
        self._control: ControlPlane | None = None
        decider: Decider
        if setup.policy.is_oracle:
            decider = Oracle(self._engines, self._pods)
        else:
            decider = self._control = ControlPlane(
                setup.policy,
                self._engines,
                self._pods,
                setup.environment,
                self._clock,
                self._agenda,
                random,
            )
        self.log = RequestLog()
        self._clients = Clients(
            decider,
            self._engines,
            self._pods,
            setup.environment,
            self._clock,
            self._agenda,
            self.log,
            random,
            self._session_ended,
            (setup.slo_ttft_ms, setup.slo_tpot_ms),
        )
        self._gauges = GaugeSampler(self._engines, self._clock, self._agenda)
        self._player = StagePlayer(offered, self._clients, self._clock, self._agenda)
        self._results: list[StageFigures] = []
        self._measured: list[tuple[int, float, float]] = []
        self._slow: dict[int, Fault] = {}

    @property
    def engines(self) -> Engines:
        """The engines, for checks."""
        return self._engines

    @property
    def control_plane(self) -> ControlPlane | None:
        """The routers, for checks; None under the oracle."""
        return self._control

    def _session_ended(self) -> None:
        self._player.session_ended()

    async def run(self) -> Outcome:
        """Play every stage to its end."""
        for fault in self._environment.faults:
            self._agenda.at(fault.at_s, partial(self._begin_fault, fault))
        if self._control is not None:
            self._control.start()
        self._gauges.start()
        itl = np.zeros(ITL_BINS, np.int64)
        while self._player.next_stage():
            before = self._engines.state.itl.copy()
            self._gauges.reset()
            await self._play()
            if self._player.is_measured:
                counts = self._engines.state.itl - before
                itl += counts
                self._note_stage(counts)
        return self._outcome(itl)

    async def _play(self) -> None:
        """Until the stage's last request has ended."""
        agenda, engines = self._agenda, self._engines
        while not self._player.is_over:
            due_s = agenda.next_s
            if engines.next_s <= due_s:
                self._clock.now_s = engines.advance(due_s)
                self._take_from_engines()
                continue
            self._clock.now_s = due_s
            waits = agenda.pop()()
            if waits is not None:
                await waits

    def _take_from_engines(self) -> None:
        if self._control is not None:
            self._control.collect()
        else:
            self._engines.clear_kv_changes()
        events = list(self._engines.take_events())
        self._engines.clear_events()
        for event in events:
            self._clients.on_event(event)

    def _note_stage(self, itl_counts: Counts) -> None:
        rows = self.log.rows[self.log.rows["stage"] == self._player.number]
        waiting, running = self._gauges.means()
        made = figures(rows, itl_counts, waiting_mean=waiting, running_mean=running)
        self._measured.append((self._player.number, waiting or 0.0, running or 0.0))
        self._results.append(StageFigures(self._player.label, self._player.offered_per_s, made))

    def _outcome(self, itl_counts: Counts) -> Outcome:
        stages = [number for number, _, _ in self._measured]
        rows = self.log.rows[np.isin(self.log.rows["stage"], stages)]
        duration_s = sum(result.figures.duration_s for result in self._results)
        weights = [r.figures.duration_s / (duration_s or 1.0) for r in self._results]
        overall = figures(
            rows,
            itl_counts,
            waiting_mean=float(np.dot(weights, [w for _, w, _ in self._measured])),
            running_mean=float(np.dot(weights, [r for _, _, r in self._measured])),
            start_s=0.0,
            end_s=duration_s,
        )
        counters = self._engines.counters
        control = self._control
        return Outcome(
            overall=replace(overall, duration_s=duration_s),
            stages=tuple(self._results),
            virtual_s=self._clock.now_s,
            decisions=len(self.log),
            steps=counters.steps,
            preemptions=counters.preemptions,
            bundle_version=control.bundle_version if control else 0,
        )

    def _begin_fault(self, fault: Fault) -> None:
        engines, pod, now_s = self._engines, fault.pod, self._clock.now_s
        if not engines.is_alive(pod):
            return  # there is no process that it could happen to
        end_s = now_s + fault.duration_s
        if fault.kind == "slow":
            self._slow[pod] = fault
            engines.slow_down(pod, fault.factor)
            self._agenda.at(end_s, lambda: self._end_slowness(fault))
        elif fault.kind == "hang":
            engines.hang(pod, end_s)
        else:
            epoch = self._pods.epochs[pod]
            self._clients.pod_died(engines.kill(pod))
            self._agenda.at(
                now_s + self._environment.lease_ttl_s, lambda: self._withdraw(pod, epoch)
            )
            self._agenda.at(end_s, lambda: self._restart(pod))

    def _end_slowness(self, fault: Fault) -> None:
        if self._slow[fault.pod] is fault:  # else a later one has taken its place
            self._engines.slow_down(fault.pod, 1.0)

    def _withdraw(self, pod: int, epoch: int) -> None:
        if self._pods.epochs[pod] == epoch:
            self._pods.withdraw(pod)
            if self._control is not None:
                self._control.publish_records()

    def _restart(self, pod: int) -> None:
        self._engines.revive(pod)
        self._pods.register_again(pod)
        if self._control is not None:
            self._control.restart(pod)
            self._control.publish_records()
