"""One emulated pod as its engine reports to it: counters for its page, events for its stream."""

from collections.abc import Sequence

from sim.emulator.kv_events import KvEvent
from sim.emulator.publisher import EventPublisher
from sim.emulator.run import Run
from sim.emulator.stats import Stats
from sim.engine.engines import Progress


class Pod:
    """The driver's observer of one engine."""

    def __init__(self, number: int, publisher: EventPublisher) -> None:
        self.number = number
        self.publisher = publisher
        self.stats = Stats()
        self.url = ""
        """Base URL, once it listens."""

    def first_token(self, run: Run, progress: Progress) -> None:
        """Count the prompt, and what of it came from a cache."""
        stats = self.stats
        lower = progress.host_tokens + progress.storage_tokens
        stats.prompt_tokens += run.job.prompt.size
        stats.cached_tokens["device"] += progress.cached_tokens - lower
        stats.cached_tokens["host"] += progress.host_tokens
        stats.cached_tokens["disk"] += progress.storage_tokens
        stats.generation_tokens += 1
        stats.ttft_s.observe(run.ttft_s)

    def tokens(self, count: int, gap_s: float) -> None:
        """Count further tokens."""
        self.stats.generation_tokens += count
        self.stats.itl_s.observe(gap_s, count)

    def ended(self, run: Run, progress: Progress, took_s: float) -> None:
        """Count the request; lengths and times only of those that were not aborted."""
        stats = self.stats
        stats.preemptions += progress.preemptions
        if not run.finished:
            stats.finished["abort"] += 1
            return
        stats.finished[run.job.finish_reason] += 1
        stats.e2e_s.observe(took_s)
        stats.prompt_lengths.observe(run.job.prompt.size)
        stats.output_lengths.observe(run.generated)
        if run.generated > 1:
            stats.tpot_s.observe((took_s - run.ttft_s) / (run.generated - 1))

    def publish(self, events: Sequence[KvEvent]) -> None:
        """Send what a step changed in the cache."""
        self.publisher.publish(events)
