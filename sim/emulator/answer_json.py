"""The JSON of answers as vLLM 0.32 writes it: whole, and in chunks of a stream."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sim.emulator.run import Run

FINGERPRINT = "vllm-0.32.0-emulated"
Json = dict[str, Any]


class AnswerJson(ABC):
    """One answer in the form of one API.

    :param with_ids: the client asked for token ids too.
    """

    prefix: ClassVar[str]
    """Of request ids."""
    kind: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(
        self, run: Run, request_id: str, model: str, created_unix_s: int, with_ids: bool
    ) -> None:
        self._run = run
        self._with_ids = with_ids
        self._request_id = self.prefix + request_id
        self._model = model
        self._created_unix_s = created_unix_s

    @abstractmethod
    def opening(self) -> Json | None:
        """What a stream begins with before the first token."""

    @abstractmethod
    def chunk(self, text: str, ids: Sequence[int], finish_reason: str | None) -> Json:
        """Further tokens."""

    @abstractmethod
    def whole(self, text: str) -> Json:
        """The answer in one piece."""

    def counts(self, generated: int) -> Json:
        """Token counts after so many tokens of the answer."""
        prompt_tokens = int(self._run.job.prompt.size)
        return {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + generated,
            "completion_tokens": generated,
        }

    def usage_chunk(self) -> Json:
        """The last chunk, with the token counts."""
        counts = self.counts(self._run.generated)
        return {
            **self._heading(self.chunk_kind),
            "choices": [],
            "usage": {**counts, "prompt_tokens_details": self._details()},
            "system_fingerprint": FINGERPRINT,
        }

    def _details(self) -> Json:
        return {"cached_tokens": self._run.cached_tokens}

    def _heading(self, kind: str) -> Json:
        return {
            "id": self._request_id,
            "object": kind,
            "created": self._created_unix_s,
            "model": self._model,
        }

    def _totals(self) -> Json:
        """What follows the choices of a whole answer."""
        details = dict.fromkeys(("cached_tokens", "created_cache_tokens", "multimodal_tokens"))
        return {
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": {
                **self.counts(self._run.generated),
                "prompt_tokens_details": {**details, **self._details()},
                "completion_tokens_details": None,
            },
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def _prompt_ids(self) -> list[int] | None:
        return self._run.job.prompt.tolist() if self._with_ids else None

    def _answer_ids(self) -> list[int] | None:
        return self._run.job.answer.tolist() if self._with_ids else None


class CompletionJson(AnswerJson):
    """`/v1/completions`."""

    prefix = "cmpl-"
    kind = chunk_kind = "text_completion"

    def opening(self) -> Json | None:
        """There is none."""
        return None

    def chunk(self, text: str, ids: Sequence[int], finish_reason: str | None) -> Json:
        """Further tokens; with the first ones come the prompt's."""
        is_first = self._run.generated == len(ids)
        choice = {
            "index": 0,
            "text": text,
            "logprobs": None,
            "finish_reason": finish_reason,
            "stop_reason": None,
            "prompt_token_ids": self._prompt_ids() if is_first else None,
            "token_ids": ids if self._with_ids else None,
        }
        return {**self._heading(self.chunk_kind), "choices": [choice]}

    def whole(self, text: str) -> Json:
        """The answer in one piece."""
        choice = {
            "index": 0,
            "text": text,
            "logprobs": None,
            "finish_reason": self._run.job.finish_reason,
            "stop_reason": None,
            "token_ids": self._answer_ids(),
            "prompt_logprobs": None,
            "prompt_token_ids": self._prompt_ids(),
            "routed_experts": None,
        }
        return {**self._heading(self.kind), "choices": [choice], **self._totals()}


class ChatJson(AnswerJson):
    """`/v1/chat/completions`."""

    prefix = "chatcmpl-"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def opening(self) -> Json | None:
        """Who speaks, and the prompt's ids."""
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        return {
            **self._heading(self.chunk_kind),
            "choices": [choice],
            "prompt_token_ids": self._prompt_ids(),
            "prompt_text": None,
        }

    def chunk(self, text: str, ids: Sequence[int], finish_reason: str | None) -> Json:
        """Further tokens."""
        choice: Json = {
            "index": 0,
            "delta": {"content": text},
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        if finish_reason:
            choice["stop_reason"] = None
        choice["token_ids"] = ids if self._with_ids else None
        return {**self._heading(self.chunk_kind), "choices": [choice]}

    def whole(self, text: str) -> Json:
        """The answer in one piece."""
        silent = ("refusal", "annotations", "audio", "function_call", "reasoning")
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, **dict.fromkeys(silent)},
            "logprobs": None,
            "finish_reason": self._run.job.finish_reason,
            "stop_reason": None,
            "token_ids": self._answer_ids(),
            "routed_experts": None,
        }
        return {
            **self._heading(self.kind),
            "choices": [choice],
            **self._totals(),
            "prompt_logprobs": None,
            "prompt_token_ids": self._prompt_ids(),
            "prompt_text": None,
        }

    def _details(self) -> Json:
        return {**super()._details(), "created_cache_tokens": 0}
