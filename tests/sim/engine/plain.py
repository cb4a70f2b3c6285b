"""One engine in plain Python, written from a description of vLLM's scheduler: the kernels' oracle.

Everything is a list, a queue or a dictionary; nothing is fast. It has neither tiers nor adapters.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.engine.layout import DEVICE
from sim.engine.spec import EngineSpec, StepRates
from tests.sim.engine.given import Asked, Change

Keys = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Request:
    """A request and the ids of the blocks that it holds, first block first."""

    name: int
    keys: list[int]
    prompt_tokens: int
    output_tokens: int
    generated: int = 0
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    cached_tokens: int | None = None
    preemptions: int = 0

    @property
    def tokens(self) -> int:
        """What is known of the sequence."""
        return self.prompt_tokens + self.generated


class Cache:
    """Blocks that are held, and free ones in the order in which they are taken."""

    def __init__(self, blocks: int, block_tokens: int, keys_per_block: int) -> None:
        self.block_tokens = block_tokens
        self.keys_per_block = keys_per_block
        self.free = OrderedDict.fromkeys(range(blocks))
        self.holders: Counter[int] = Counter()
        self.content: dict[int, Keys] = {}
        self.copies: dict[int, list[int]] = {}
        self.key_counts: Counter[int] = Counter()
        self.log: list[tuple[bool, Keys, tuple[bool, ...], Request | None, int | None]] = []

    def keys_of(self, request: Request, position: int) -> Keys:
        """Canonical keys of a block of a request."""
        start = position * self.keys_per_block
        return tuple(request.keys[start : start + self.keys_per_block])

    def longest_prefix(self, request: Request) -> list[int]:
        """Cached blocks of its start; at least the last token is left to compute."""
        found = []
        for position in range((request.tokens - 1) // self.block_tokens):
            copies = self.copies.get(self.keys_of(request, position)[-1])
            if not copies:
                break
            found.append(copies[0])
        return found

    def blocks_of(self, tokens: int) -> int:
        """Blocks that so many tokens need."""
        return -(-tokens // self.block_tokens)

    def hold_hits(self, request: Request, hits: Sequence[int]) -> None:
        """The request shares these blocks."""
        for block in hits:
            self.free.pop(block, None)
            self.holders[block] += 1
        request.blocks = list(hits)

    def allocate(self, request: Request, tokens: int) -> None:
        """Hold blocks for so many tokens of the request, and cache those that they fill."""
        cached = sum(block in self.content for block in request.blocks)
        while len(request.blocks) < self.blocks_of(tokens):
            block, _ = self.free.popitem(last=False)
            if block in self.content:
                self._forget(block)
            self.holders[block] = 1
            request.blocks.append(block)
        for position in range(cached, tokens // self.block_tokens):
            self._remember(request, position)

    def _remember(self, request: Request, position: int) -> None:
        keys = self.keys_of(request, position)
        self.content[request.blocks[position]] = keys
        self.copies.setdefault(keys[-1], []).append(request.blocks[position])
        self.key_counts.update(keys)
        changed = tuple(self.key_counts[key] == 1 for key in keys)
        self.log.append((True, keys, changed, request, position))

    def _forget(self, block: int) -> None:
        keys = self.content.pop(block)
        self.copies[keys[-1]].remove(block)
        self.key_counts.subtract(keys)
        changed = tuple(self.key_counts[key] == 0 for key in keys)
        self.log.append((False, keys, changed, None, None))

    def let_go(self, request: Request) -> None:
        """Free what nobody else holds: last block first, and what has no content is taken next."""
        for block in reversed(request.blocks):
            self.holders[block] -= 1
            if self.holders[block] == 0:
                self.free[block] = None
                self.free.move_to_end(block, last=block in self.content)
        request.blocks = []

    def held_keys(self) -> list[int]:
        """All canonical keys, sorted."""
        return sorted(key for key, count in self.key_counts.items() if count)


class PlainEngine:
    """The engine: time goes from the end of one step to that of the next."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.cache = Cache(spec.blocks, spec.block_tokens, spec.keys_per_block)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.batch: dict[Request, int] = {}
        self.due_s: float | None = None
        self.first_s: dict[int, float] = {}
        self.end_s: dict[int, float] = {}
        self.ended: dict[int, Request] = {}
        self.changes: list[Change] = []
        self.submitted = 0

    def submit(self, wanted: Asked, now_s: float) -> int:
        """Name of the new request."""
        name = self.submitted
        self.submitted += 1
        keys = wanted.keys.tolist()
        self.waiting.append(Request(name, keys, wanted.prompt_tokens, wanted.output_tokens))
        if self.due_s is None:
            self.due_s = now_s
        return name

    def abort(self, name: int) -> None:
        """The client has gone away."""
        request = next(r for r in [*self.waiting, *self.running] if r.name == name)
        (self.waiting if request in self.waiting else self.running).remove(request)
        self.batch.pop(request, None)
        self.cache.let_go(request)

    def run(self, until_s: float) -> None:
        """Do everything that happens up to then."""
        while self.due_s is not None and self.due_s <= until_s:
            now_s = self.due_s
            self._finish_step(now_s)
            self.batch = {}
            if not self._schedule_running():
                self._schedule_waiting()
            self.due_s = now_s + self._step_s(self.spec.rates) if self.batch else None
            for is_store, keys, changed, request, position in self.cache.log:
                assert self.due_s is not None
                name = request.name if request else None
                self.changes.append(
                    Change(self.due_s, 0, DEVICE, is_store, keys, changed, name, position)
                )
            self.cache.log = []

    def _budget(self) -> int:
        return self.spec.max_batched_tokens - sum(self.batch.values())

    def _schedule_running(self) -> bool:
        """Whether a request had to give way."""
        preempted = False
        at = 0
        while at < len(self.running) and self._budget() > 0:
            request = self.running[at]
            new = min(request.tokens - request.computed, self._budget())
            needed = self.cache.blocks_of(request.computed + new) - len(request.blocks)
            while request in self.running and needed > len(self.cache.free):
                self._preempt(self.running.pop())
                preempted = True
            if request not in self.running:
                break
            self.cache.allocate(request, request.computed + new)
            self.batch[request] = new
            at += 1
        return preempted

    def _preempt(self, victim: Request) -> None:
        self.cache.let_go(victim)
        victim.computed = 0
        victim.preemptions += 1
        self.waiting.appendleft(victim)

    def _schedule_waiting(self) -> None:
        cache = self.cache
        while self.waiting and self._budget() > 0 and len(self.running) < self.spec.max_sequences:
            request = self.waiting[0]
            hits = cache.longest_prefix(request)
            unheld = sum(block in cache.free for block in hits)
            if cache.blocks_of(request.tokens) - len(hits) + unheld > len(cache.free):
                break
            if request.cached_tokens is None:
                request.cached_tokens = len(hits) * self.spec.block_tokens
            request.computed = len(hits) * self.spec.block_tokens
            new = min(request.tokens - request.computed, self._budget())
            cache.hold_hits(request, hits)
            cache.allocate(request, request.computed + new)
            self.batch[request] = new
            self.running.append(self.waiting.popleft())

    def _step_s(self, rates: StepRates) -> float:
        step_s = rates.base_s
        for request, new in self.batch.items():
            context = request.computed
            if new == 1 and context >= request.prompt_tokens:
                step_s += rates.decode_s_per_sequence
                step_s += rates.decode_s_per_context_token * (context + 1)
            else:
                step_s += rates.prefill_s_per_token * new
                step_s += rates.attention_s_per_token_squared * new * (context + new / 2)
        return step_s

    def _finish_step(self, now_s: float) -> None:
        for request, new in self.batch.items():
            request.computed += new
            if request.computed < request.tokens:
                continue
            request.generated += 1
            self.first_s.setdefault(request.name, now_s)
            if request.generated == request.output_tokens:
                self.end_s[request.name] = now_s
                self.ended[request.name] = request
                self.running.remove(request)
                self.cache.let_go(request)
