"""What `farsight status` found out; also the form of its JSON."""

from dataclasses import dataclass

SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Service:
    """One replica of one service."""

    kind: str
    replica_id: str
    address: str
    health: str
    """`serving`, or in words what it is instead."""
    uptime_s: float
    version: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One registered endpoint."""

    endpoint_id: str
    url: str
    pool: str
    model: str
    lora_names: tuple[str, ...]
    block_size_tokens: int
    kv_blocks: int
    epoch: int
    is_leased: bool
    """The record goes when its sidecar does."""


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """The bundle that a predictor has of a model."""

    predictor: str
    version: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The live latency bundle of one model."""

    model: str
    version: int
    """0: none was published, the analytic model predicts."""
    age_s: float | None
    """Since it was trained; None without a bundle."""
    sample_count: int
    loaded: tuple[LoadedBundle, ...]


@dataclass(frozen=True, slots=True)
class Indexer:
    """What one indexer holds."""

    indexer: str
    distinct_blocks: int
    table_bytes: int


@dataclass(frozen=True, slots=True)
class IndexSource:
    """One endpoint's KV cache as one indexer knows it."""

    endpoint_id: str
    indexer: str
    confidence: str
    reason: str
    """Why it is not EXACT."""
    epoch: int
    lag_deltas: int
    """Announced by the sidecar and not applied."""
    age_ms: int | None
    """Since the state was last confirmed; None is never."""
    device_blocks: int
    host_blocks: int


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """One endpoint's load as one router knows it."""

    endpoint_id: str
    router: str
    load_age_ms: int | None
    """Of the last load report; None is never."""
    is_inhibited: bool
    """Failed lately and is left out for a moment."""
    cached_drift_tokens: float
    """Mean predicted minus actual cached tokens while they drift apart, else 0."""


@dataclass(frozen=True, slots=True)
class LiveProfile:
    """The scheduling profile that one router uses."""

    router: str
    profile: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that could be found out."""

    services: tuple[Service, ...]
    endpoints: tuple[Endpoint, ...]
    trainer_leader: str | None
    bundles: tuple[Bundle, ...]
    profiles: tuple[LiveProfile, ...]
    """Of the routers that answered."""
    indexers: tuple[Indexer, ...]
    """Those that answered."""
    index: tuple[IndexSource, ...]
    loads: tuple[EndpointLoad, ...]
    unread: tuple[str, ...]
    """Records and replies that could not be read, in words."""


@dataclass(frozen=True, slots=True)
class Report:
    """The fleet and what is wrong with it."""

    is_whole: bool
    problems: tuple[str, ...]
    """In words."""
    fleet: Fleet
