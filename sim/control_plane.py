"""The routers, and all that reaches them: records, loads, KV deltas, in-flight totals, bundles."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from farsight import subjects
from farsight.errors import NoEndpoint
from farsight.pb.events_pb2 import KvDelta, Load
from farsight.pb.router_pb2 import ReportEvent
from farsight.pb.types_pb2 import CONFIDENCE_EXACT
from services.router.prompts import RouteCall
from sim.agenda import Agenda
from sim.clock import VirtualClock
from sim.deciding import Ask, Verdict
from sim.engine.engines import Engines
from sim.environment import Environment
from sim.kv_stream import KvStream
from sim.pods import Pods
from sim.policy import Policy
from sim.replica import Replica
from sim.training import TrainingLoop

HOUSEKEEPING_S = 1.0


class ControlPlane:
    """Owns the replicas of the router and feeds them as late and as partially as in life."""

    def __init__(
        self,
        policy: Policy,
        engines: Engines,
        pods: Pods,
        environment: Environment,
        clock: VirtualClock,
        agenda: Agenda,
        random: Random,
    ) -> None:
        self._engines = engines
        self._pods = pods
        self._environment = environment
        self._clock = clock
        self._agenda = agenda
        self._random = random
        self._training = TrainingLoop(clock, policy.training)
        self._stream = KvStream(engines, pods, environment.delta_delay_s)
        self._subjects = [subjects.load(endpoint_id) for endpoint_id in pods.ids]
        self._wanted: set[tuple[int, str]] = set()
        self._overtaken: dict[tuple[int, int], KvDelta] = {}
        self._replicas = [
            Replica(
                f"router-{i}",
                policy,
                clock,
                self._training.bundles.models,
                self._training,
                partial(self._want_snapshot, i),
                Random(random.getrandbits(64)),
            )
            for i in range(environment.routers)
        ]

    @property
    def replicas(self) -> Sequence[Replica]:
        """The routers."""
        return self._replicas

    @property
    def bundle_version(self) -> int:
        """Of the live latency bundle, 0 without one."""
        return max((m.version for m in self._training.bundles.models.values()), default=0)

    def start(self) -> None:
        """Register the pods and begin what happens again and again."""
        self.publish_records()
        interval_s = self._environment.load_interval_s
        for pod in range(len(self._pods)):
            self._report_load(pod)
            self._every(interval_s, partial(self._report_load, pod), self._random.random())
        self._every(HOUSEKEEPING_S, self._tidy)
        if len(self._replicas) > 1:
            self._every(self._environment.announce_interval_s, self._announce)
            self._every(HOUSEKEEPING_S, partial(self._announce, is_full=True))
        if self._training.is_on:
            self._agenda.at(self._training.check_interval_s, self._train)

    def _every(self, interval_s: float, action: Callable[[], None], phase: float = 1.0) -> None:
        def again() -> None:
            action()
            self._agenda.at(self._clock.now_s + interval_s, again)

        self._agenda.at(self._clock.now_s + interval_s * phase, again)

    def publish_records(self) -> None:
        """The records of the pods have changed."""
        records = self._pods.records()
        for replica in self._replicas:
            replica.register(records)

    def collect(self) -> None:
        """Take what the engines have changed in their caches, when they have no room for more."""
        if self._engines.is_kv_full:
            self._stream.collect()

    def restart(self, pod: int) -> None:
        """The pod's process is another one."""
        self._stream.restart(pod)

    def _sync(self) -> None:
        """Deltas that have arrived by now."""
        for pod, delta in self._stream.deltas(self._clock.now_s):
            for i, replica in enumerate(self._replicas):
                if replica.has_index and self._random.random() >= self._environment.delta_loss:
                    self._deliver(i, pod, delta)

    def _deliver(self, replica: int, pod: int, delta: KvDelta) -> None:
        index = self._replicas[replica].index
        late = self._overtaken.pop((replica, pod), None)
        if late is None and self._random.random() < self._environment.delta_reorder:
            self._overtaken[replica, pod] = delta
            return
        index.apply(delta)
        if late is not None:
            index.apply(late)

    def _report_load(self, pod: int) -> None:
        if not self._pods.is_registered(pod) or not self._engines.is_alive(pod):
            return
        gauges, endpoint_id = self._engines.gauges(pod), self._pods.ids[pod]
        load = Load(
            endpoint_id=endpoint_id,
            epoch=self._pods.epochs[pod],
            sent_unix_ms=self._clock.unix_ms(),
            running_requests=gauges.running,
            waiting_requests=gauges.waiting,
            kv_usage_ratio=gauges.kv_usage_ratio,
            kv_seq=self._stream.seqs[pod],
            kv_confidence=CONFIDENCE_EXACT,
        )
        subject, data = self._subjects[pod], load.SerializeToString()
        for replica in self._replicas:
            replica.hear_load(subject, load, data)

    def _want_snapshot(self, replica: int, endpoint_id: str) -> None:
        if (replica, endpoint_id) in self._wanted:
            return
        self._wanted.add((replica, endpoint_id))

        async def answer() -> None:
            self._wanted.discard((replica, endpoint_id))
            self._sync()
            pod = self._pods.number_of[endpoint_id]
            if self._engines.is_alive(pod):
                await self._replicas[replica].index.replace(self._stream.snapshot(pod))

        self._agenda.at(self._clock.now_s + self._environment.snapshot_delay_s, answer)

    def _tidy(self) -> None:
        for replica in self._replicas:
            replica.parts.outcomes.expire()
            replica.parts.reservations.tidy(replica.parts.fleet.endpoints)
            for doubt in replica.parts.audit.take_doubts():
                for index in (other.index for other in self._replicas if other.has_index):
                    index.doubt(doubt.endpoint_id, doubt.epoch)

    def _announce(self, is_full: bool = False) -> None:
        """What has changed soon, and all of it now and then: who says nothing counts as gone."""
        for i, replica in enumerate(self._replicas):
            delta = replica.parts.reservations.announcement(is_full, self._clock.unix_ms())
            told = replica.parts.routed.announcement(is_heard=True)
            for other in (*self._replicas[:i], *self._replicas[i + 1 :]):
                if delta is not None:
                    other.parts.reservations.hear(delta)
                if told is not None:
                    other.parts.routed.hear(
                        subjects.routed(told.router_id), told.SerializeToString()
                    )

    async def _train(self) -> None:
        before = self.bundle_version
        await self._training.refit_due()
        if self.bundle_version != before:
            for replica in self._replicas:
                replica.parts.forecaster.update(self._training.bundles.pointers)
        self._agenda.at(self._clock.now_s + self._training.check_interval_s, self._train)

    async def decide(self, ask: Ask) -> Verdict | None:
        """Ask the replica whose turn it is."""
        self._sync()
        call = RouteCall(
            request_id=str(ask.number),
            model=ask.model,
            prompt=ask.tokens,
            slo_ttft_ms=ask.slo_ttft_ms,
            slo_tpot_ms=ask.slo_tpot_ms,
            priority=ask.priority,
            max_output_tokens=0,  # clients do not tell how long answers will be
            cache_salt="",
            profile="",
            exclude=frozenset(),
            session_id=ask.session_id,
        )
        router = self._replicas[ask.number % len(self._replicas)].router
        try:
            made = await router.route(call, self._clock.now_s - self._environment.decision_s)
        except NoEndpoint:
            return None
        opened = made.opened
        return Verdict(
            opened.decision_id,
            tuple(self._pods.number_of[e] for e in opened.endpoint_ids),
            opened.cached_tokens,
            tuple(opened.quantiles_ms[:, 0].tolist()),
        )

    def report(self, number: int, event: ReportEvent) -> None:
        """To the replica that decided."""
        self._replicas[number % len(self._replicas)].parts.outcomes.take(event)
