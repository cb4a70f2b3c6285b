"""What router replicas tell each other about routed prompts: batched, bounded, checked."""

from collections import deque

from google.protobuf.message import DecodeError

from farsight import metrics as shared_metrics
from farsight.errors import InvalidField
from farsight.keys import Keys, pack, unpack
from farsight.pb.events_pb2 import RoutedDelta, RoutedPrompt
from services.router import metrics

# Of one prompt: its head stands for it. 65,536 tokens.
MAX_TOLD_KEYS = 4096
# A message ends with the prompt that passes either; the rest waits for the next one. It takes the
# hearer about a millisecond: a prompt some 20 us, and its keys.
MESSAGE_BYTES = 1 << 15
MESSAGE_PROMPTS = 32
# Beyond this the oldest prompts are not told.
MAX_WAITING_BYTES = 1 << 20
MAX_HEARD_BYTES = 1 << 17
MAX_HEARD_PROMPTS = 4 * MESSAGE_PROMPTS


class RoutedOutbox:
    """Prompts that the other replicas are still to be told of.

    Whole prompts are told, so that a lost message takes nothing but its own prompts with it.
    """

    def __init__(self, router_id: str) -> None:
        self._router_id = router_id
        self._waiting: deque[RoutedPrompt] = deque()
        self._waiting_bytes = 0

    def add(self, endpoint_id: str, epoch: int, keys: Keys) -> None:
        """Tell of a prompt that went to this life of the endpoint."""
        told = pack(keys[:MAX_TOLD_KEYS])
        prompt = RoutedPrompt(endpoint_id=endpoint_id, epoch=epoch, keys=told)
        self._waiting.append(prompt)
        self._waiting_bytes += _size(prompt)
        while self._waiting_bytes > MAX_WAITING_BYTES:
            self._waiting_bytes -= _size(self._waiting.popleft())
            metrics.series(metrics.routed_prompts, "dropped").inc()

    def forget(self, endpoint_id: str) -> None:
        """What is known of the endpoint's cache is void."""
        self._waiting = deque(p for p in self._waiting if p.endpoint_id != endpoint_id)
        self._waiting_bytes = sum(_size(p) for p in self._waiting)

    def clear(self) -> None:
        """Nobody is there to be told."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def take(self) -> RoutedDelta | None:
        """The next message; None when there is nothing to tell."""
        if not self._waiting:
            return None
        told = RoutedDelta(router_id=self._router_id)
        size_bytes = 0
        while self._waiting and size_bytes < MESSAGE_BYTES and len(told.prompts) < MESSAGE_PROMPTS:
            prompt = self._waiting.popleft()
            size_bytes += _size(prompt)
            told.prompts.append(prompt)
        self._waiting_bytes -= size_bytes
        return told


def _size(prompt: RoutedPrompt) -> int:
    return len(prompt.keys) + len(prompt.endpoint_id)


def decode_routed(data: bytes) -> RoutedDelta | None:
    """A message of another replica; None, and counted, when it does not parse or is too large."""
    if len(data) <= MAX_HEARD_BYTES:
        try:
            delta = RoutedDelta.FromString(data)
        except DecodeError:
            pass
        else:
            if delta.router_id and len(delta.prompts) <= MAX_HEARD_PROMPTS:
                return delta
    shared_metrics.bad_records.labels("routed").inc()
    return None


def keys_of(prompt: RoutedPrompt) -> Keys | None:
    """The keys of a prompt; None, and counted, when they cannot be any."""
    try:
        return unpack(prompt.keys, "prompts.keys", MAX_TOLD_KEYS)
    except InvalidField:
        shared_metrics.bad_records.labels("routed").inc()
        return None
