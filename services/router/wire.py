"""Route calls and decisions in protobuf: fields are checked here, once."""

import math

import numpy as np

from farsight.errors import InvalidField
from farsight.extras import Item
from farsight.index.match import Confidence
from farsight.pb.router_pb2 import Candidate, RoutedEndpoint, RouteReply, RouteRequest
from services.router.chat import parse_chat
from services.router.decisions import Latency
from services.router.prompts import Prompt, RouteCall
from services.router.roster import Endpoint
from services.router.route import Decision
from services.router.samples import latency_message

MAX_ID_CHARS = 128
MAX_NAME_CHARS = 512
MAX_EXCLUDED = 4096
MAX_OUTPUT_TOKENS = 1 << 24
MAX_AGE_MS = 2**32 - 1
MAX_MULTIMODAL = 1024


def decode_call(request: RouteRequest, max_prompt_bytes: int) -> RouteCall:
    """A checked call.

    :raises InvalidField: a field is out of its bounds.
    """
    _bounded("request_id", request.request_id, MAX_ID_CHARS)
    _bounded("model", request.model, MAX_NAME_CHARS)
    if not request.model:
        raise InvalidField("model", "a model name")
    _bounded("cache_salt", request.cache_salt, MAX_NAME_CHARS)
    _bounded("profile", request.profile, MAX_ID_CHARS)
    _bounded("session_id", request.session_id, MAX_ID_CHARS)
    if request.max_output_tokens > MAX_OUTPUT_TOKENS:
        raise InvalidField("max_output_tokens", f"at most {MAX_OUTPUT_TOKENS}")
    if len(request.exclude_endpoint_ids) > MAX_EXCLUDED:
        raise InvalidField("exclude_endpoint_ids", f"at most {MAX_EXCLUDED}")
    prompt = _prompt(request, max_prompt_bytes)
    return RouteCall(
        request.request_id,
        request.model,
        prompt,
        _slo(request, "slo_ttft_ms"),
        _slo(request, "slo_tpot_ms"),
        request.priority,
        request.max_output_tokens,
        request.cache_salt,
        request.profile,
        frozenset(request.exclude_endpoint_ids),
        request.session_id,
        _multimodal(request, prompt),
    )


def _bounded(field: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise InvalidField(field, f"at most {limit} characters, not {len(text)}")


def _slo(request: RouteRequest, field: str) -> float | None:
    if not request.HasField(field):  # type: ignore[arg-type] # one of two literals
        return None
    value = float(getattr(request, field))
    if not math.isfinite(value) or value <= 0:
        raise InvalidField(field, f"milliseconds > 0, not {value}")
    return value


def _prompt(request: RouteRequest, max_bytes: int) -> Prompt:
    kind = request.WhichOneof("prompt")
    if kind == "token_ids":
        _sized("token_ids", len(request.token_ids), max_bytes)
        if len(request.token_ids) % 4:
            raise InvalidField("token_ids", "4 bytes an id, uint32 little-endian")
        return np.frombuffer(request.token_ids, "<u4")
    if kind == "text":
        if not request.text:
            raise InvalidField("text", "at least one character")
        _sized("text", len(request.text.encode()), max_bytes)
        return request.text
    if kind == "chat":
        chat = request.chat
        _sized("chat", chat.ByteSize(), max_bytes)
        return parse_chat(
            chat.messages_json,
            chat.tools_json,
            chat.chat_template_kwargs_json,
            not chat.no_generation_prompt,
            chat.continue_final_message,
        )
    raise InvalidField("prompt", "token_ids, text or chat")


def _multimodal(request: RouteRequest, prompt: Prompt) -> tuple[Item, ...]:
    """Items whose offsets rise and lie within the prompt, which has placeholders: token ids."""
    if not request.multimodal:
        return ()
    if not isinstance(prompt, np.ndarray):
        raise InvalidField("multimodal", "a prompt of token_ids, which has the placeholders")
    if len(request.multimodal) > MAX_MULTIMODAL:
        raise InvalidField("multimodal", f"at most {MAX_MULTIMODAL} items")
    items = tuple((item.identifier, item.offset_tokens) for item in request.multimodal)
    lowest = 0
    for identifier, offset_tokens in items:
        if not identifier:
            raise InvalidField("multimodal.identifier", "the engine's hash of the item")
        _bounded("multimodal.identifier", identifier, MAX_NAME_CHARS)
        if not lowest <= offset_tokens < prompt.size:
            wanted = f"rising and below {prompt.size} (the prompt's tokens), not {offset_tokens}"
            raise InvalidField("multimodal.offset_tokens", wanted)
        lowest = offset_tokens + 1
    return items


def _sized(field: str, size_bytes: int, limit: int) -> None:
    if size_bytes > limit:
        raise InvalidField(field, f"at most {limit} bytes, not {size_bytes}")


def encode_reply(decision: Decision, explain: bool, return_token_ids: bool) -> RouteReply:
    """The answer to a Route call."""
    opened, seen, chosen = decision.opened, decision.candidates, decision.choice.position
    answered = [_endpoint(decision.roster.endpoints[row]) for row in decision.answered]
    reply = RouteReply(
        decision_id=opened.decision_id,
        request_id=opened.request_id,
        endpoint=answered[0],
        alternatives=answered[1:],
        predicted=latency_message(opened.latency(0)),
        prompt_tokens=opened.prompt_tokens,
        cached_tokens=opened.cached_tokens[0],
        confidence=Confidence(int(seen.confidence[chosen])).value,
        bundle_version=opened.bundle_version,
        profile=opened.profile,
        picker_reason=decision.choice.pick.reason,
        fallbacks=decision.fallbacks,
        decision_ms=opened.decision_ms,
    )
    if explain:
        reply.candidates.extend(_candidates(decision))
    if return_token_ids:
        reply.token_ids = decision.tokens.astype("<u4").tobytes()
    return reply


def _endpoint(endpoint: Endpoint) -> RoutedEndpoint:
    return RoutedEndpoint(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        data_parallel_rank=endpoint.data_parallel_rank,
    )


def _candidates(decision: Decision) -> list[Candidate]:
    """Every candidate: the chosen one, the others best first, filtered ones last."""
    choice = decision.choice
    scored = [row for row, dropped_by in enumerate(choice.filtered_by) if not dropped_by]
    names = [name for name, _ in choice.scores]
    columns = zip(*(column.tolist() for _, column in choice.scores), strict=True)
    scores_of = dict(zip(scored, columns, strict=True)) if names else {}
    return [
        _candidate(decision, row, dict(zip(names, scores_of.get(row, ()), strict=False)))
        for row in choice.ranked()
    ]


def _candidate(decision: Decision, row: int, scores: dict[str, float]) -> Candidate:
    seen, choice = decision.candidates, decision.choice
    total = float(choice.totals[row])
    latency = Latency(
        float(seen.ttft_q50_ms[row]),
        float(seen.ttft_q90_ms[row]),
        float(seen.tpot_q50_ms[row]),
        float(seen.tpot_q90_ms[row]),
    )
    return Candidate(
        endpoint_id=seen.endpoint_ids[row],
        filtered_by=choice.filtered_by[row],
        device_tokens=int(seen.device_tokens[row]),
        host_tokens=int(seen.host_tokens[row]),
        storage_tokens=int(seen.storage_tokens[row]),
        cached_tokens=int(seen.cached_tokens[row]),
        confidence=Confidence(int(seen.confidence[row])).value,
        index_age_ms=int(min(seen.index_age_ms[row], MAX_AGE_MS)),
        load_age_ms=int(min(seen.load_age_ms[row], MAX_AGE_MS)),
        predicted=latency_message(latency),
        scores=scores,
        total_score=total if math.isfinite(total) else 0.0,
        in_flight_requests=int(seen.in_flight_requests[row]),
        in_flight_prefill_tokens=int(seen.in_flight_prefill_tokens[row]),
        speculative_tokens=int(seen.speculative_tokens[row]),
    )
