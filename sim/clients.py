"""The simulated clients: sessions send their turns, wait for tokens, retry, and report."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np

from farsight.errors import InvalidField
from farsight.keys import CANONICAL_BLOCK_TOKENS, Tokens, chain
from farsight.pb.router_pb2 import EndpointFailed, Finished, FirstToken, ReportEvent
from sim.agenda import Agenda
from sim.clock import VirtualClock
from sim.deciding import Ask, Decider, Verdict
from sim.engine.engines import Engines, Event, Kind
from sim.environment import Environment
from sim.offered import Session
from sim.pods import MODEL, Pods
from sim.request_log import RequestLog, Status
from sim.tokens import Piece, shared_tokens, tokens_of

MAX_ATTEMPTS = 4
# Answers are content that no question shares.
ANSWER_SEED = 1 << 63


@dataclass(slots=True)
class _Conversation:
    """A session that is under way."""

    session: Session
    context: Tokens
    turn: int = 0


@dataclass(slots=True)
class _Request:
    """One turn that was sent."""

    row: int
    conversation: _Conversation
    ask: Ask
    reports: bool
    verdict: Verdict | None = None
    attempt: int = 0
    stage: int = 0
    arrived_s: float = 0.0
    sent_s: float = 0.0
    dispatched_s: float = 0.0
    """To the engine of this attempt."""
    first_token_s: float = math.nan
    cached_tokens: int = 0


class Clients:
    """Owns what is in flight.

    :param max_in_flight: requests that are open at most; further ones wait here.
    :param on_session_end: called when a session's last turn has ended.
    :param default_slo_ms: TTFT and TPOT targets of sessions that have none of their own.
    """

    def __init__(
        self,
        decider: Decider,
        engines: Engines,
        pods: Pods,
        environment: Environment,
        clock: VirtualClock,
        agenda: Agenda,
        log: RequestLog,
        random: Random,
        on_session_end: Callable[[], None],
        default_slo_ms: tuple[float | None, float | None],
    ) -> None:
        self._decider = decider
        self._engines = engines
        self._pods = pods
        self._environment = environment
        self._clock = clock
        self._agenda = agenda
        self._log = log
        self._random = random
        self._on_session_end = on_session_end
        self._default_slo_ms = default_slo_ms
        self._by_slot: dict[int, _Request] = {}
        self._waiting: deque[tuple[float, _Conversation]] = deque()
        self._open = 0
        self.max_in_flight: int | None = None
        self.stage = 0
        self.stage_start_s = 0.0

    def begin(self, session: Session) -> None:
        """A session sends its first turn now."""
        self._offer(_Conversation(session, shared_tokens(session.context)))

    def _offer(self, conversation: _Conversation) -> None:
        """Send the next turn, or wait for the load generator's limit."""
        if self.max_in_flight is not None and self._open >= self.max_in_flight:
            self._waiting.append((self._clock.now_s, conversation))
        else:
            self._send(self._clock.now_s, conversation)

    def _send(self, arrived_s: float, conversation: _Conversation) -> None:
        self._open += 1
        row, now_s = self._log.begin(), self._clock.now_s
        request = _Request(
            row=row,
            conversation=conversation,
            ask=self._ask(row, conversation),
            reports=self._random.random() >= self._environment.report_loss,
            stage=self.stage,
            arrived_s=arrived_s,
            sent_s=now_s,
        )
        on_the_way_s = self._environment.dispatch_s
        on_the_way_s += self._environment.prompt_overhead_s_per_token * request.ask.tokens.size
        self._agenda.at(now_s + on_the_way_s, partial(self._route, request))

    def _ask(self, row: int, conversation: _Conversation) -> Ask:
        session = conversation.session
        turn = session.turns[conversation.turn]
        question = shared_tokens(turn.question)
        prompt = (
            np.concatenate([conversation.context, question])
            if question.size
            else conversation.context
        )
        answer = tokens_of([Piece(ANSWER_SEED + row, turn.output_tokens)])
        whole = np.concatenate([prompt, answer])
        conversation.context = whole
        return Ask(
            number=row,
            model=session.lora or MODEL,
            tokens=prompt,
            keys=chain(self._pods.seed(session.lora), whole, CANONICAL_BLOCK_TOKENS),
            output_tokens=turn.output_tokens,
            session_id=session.session_id,
            slo_ttft_ms=session.slo_ttft_ms or self._default_slo_ms[0],
            slo_tpot_ms=session.slo_tpot_ms or self._default_slo_ms[1],
            priority=session.priority,
        )

    async def _route(self, request: _Request) -> None:
        request.verdict = await self._decider.decide(request.ask)
        if request.verdict is None:
            self._ended(request, Status.FAILED)
        else:
            self._dispatch(request)

    def _dispatch(self, request: _Request) -> None:
        """Send to the pod of this attempt."""
        assert request.verdict is not None
        pod = request.verdict.pods[request.attempt]
        request.dispatched_s = self._clock.now_s
        if not self._engines.is_alive(pod):
            self._lost(request)
            return
        ask = request.ask
        try:
            slot = self._engines.submit(
                pod,
                ask.keys,
                ask.tokens.size,
                ask.output_tokens,
                self._clock.now_s,
                self._pods.lora_number(request.conversation.session.lora),
            )
        except InvalidField:  # longer than this pod's cache: an engine answers 400
            self._give_up(request)
            return
        self._by_slot[slot] = request

    def on_event(self, event: Event) -> None:
        """A first token or an end, at the engine."""
        request = self._by_slot[event.request]
        seen_s = event.time_s + self._environment.response_s
        if event.kind is Kind.FIRST_TOKEN:
            request.first_token_s = seen_s
            ttft_ms = (seen_s - request.dispatched_s) * 1000
            self._report(request, seen_s, first_token=FirstToken(ttft_ms=ttft_ms))
            return
        request.cached_tokens = self._engines.cached_tokens(event.request)
        self._report(request, seen_s, finished=_finished(request, seen_s))
        del self._by_slot[event.request]
        self._engines.release(event.request)
        self._agenda.at(seen_s, partial(self._ended, request, Status.COMPLETED))

    def _report(
        self, request: _Request, seen_s: float, **kind: FirstToken | Finished | EndpointFailed
    ) -> None:
        verdict = request.verdict
        if not request.reports or verdict is None:
            return
        event = ReportEvent(
            decision_id=verdict.decision_id,
            endpoint_id=self._pods.ids[verdict.pods[request.attempt]],
            **kind,  # type: ignore[arg-type] # one member of the oneof
        )
        self._agenda.at(
            seen_s + self._environment.report_delay_s,
            partial(self._decider.report, request.row, event),
        )

    def pod_died(self, slots: list[int]) -> None:
        """Requests of a pod whose process is gone; their clients notice after a while."""
        for slot in slots:
            request = self._by_slot.pop(slot)
            self._engines.release(slot)
            self._lost(request)

    def _lost(self, request: _Request) -> None:
        at_s = self._clock.now_s + self._environment.failure_timeout_s
        self._agenda.at(at_s, partial(self._retry, request))

    def _retry(self, request: _Request) -> None:
        """The next pod of the answer; a stream that had begun is lost."""
        assert request.verdict is not None
        now_s, following = self._clock.now_s, request.attempt + 1
        if not math.isnan(request.first_token_s) or following >= min(
            MAX_ATTEMPTS, len(request.verdict.pods)
        ):
            self._give_up(request)
            return
        successor = self._pods.ids[request.verdict.pods[following]]
        failed = EndpointFailed(reason="connection lost", next_endpoint_id=successor)
        self._report(request, now_s, endpoint_failed=failed)
        request.attempt = following
        self._dispatch(request)

    def _give_up(self, request: _Request) -> None:
        """The client has an error instead of an answer."""
        failed = Finished(status=Finished.STATUS_FAILED)
        self._report(request, self._clock.now_s, finished=failed)
        self._ended(request, Status.FAILED)

    def _ended(self, request: _Request, status: Status) -> None:
        """The client has all of the answer, or none: the session goes on or is over."""
        self._write(request, status)
        self._open -= 1
        conversation = request.conversation
        conversation.turn += 1
        turns = conversation.session.turns
        if conversation.turn < len(turns):
            turn = turns[conversation.turn]
            at_s = max(self._clock.now_s + turn.gap_s, self.stage_start_s + turn.at_s)
            self._agenda.at(at_s, partial(self._offer, conversation))
        if self._waiting and (self.max_in_flight is None or self._open < self.max_in_flight):
            self._send(*self._waiting.popleft())
        if conversation.turn >= len(turns):
            self._on_session_end()

    def _write(self, request: _Request, status: Status) -> None:
        verdict, attempt, ask = request.verdict, request.attempt, request.ask
        is_done = status is Status.COMPLETED
        self._log.write(
            request.row,
            (
                request.stage,
                request.arrived_s,
                request.sent_s,
                request.first_token_s,
                self._clock.now_s,
                ask.tokens.size,
                ask.output_tokens if is_done else 0,
                request.cached_tokens,
                verdict.cached_tokens[attempt] if verdict else 0,
                verdict.ttft_q50_ms[attempt] / 1000 if verdict else math.nan,
                verdict.pods[attempt] if verdict and is_done else -1,
                attempt + 1,
                status,
                math.nan if ask.slo_ttft_ms is None else ask.slo_ttft_ms,
                math.nan if ask.slo_tpot_ms is None else ask.slo_tpot_ms,
            ),
        )


def _finished(request: _Request, seen_s: float) -> Finished:
    output = request.ask.output_tokens
    tpot_ms = (seen_s - request.first_token_s) / (output - 1) * 1000 if output > 1 else 0.0
    return Finished(
        status=Finished.STATUS_COMPLETED,
        ttft_ms=(request.first_token_s - request.dispatched_s) * 1000,
        tpot_ms=tpot_ms,
        e2e_ms=(seen_s - request.dispatched_s) * 1000,
        prompt_tokens=request.ask.tokens.size,
        output_tokens=output,
        cached_tokens=request.cached_tokens,
    )
