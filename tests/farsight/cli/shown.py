"""What a table looks like on a terminal of a given width, and an example fleet to show."""

import io

from rich.console import Console, RenderableType

from farsight.cli.status_report import (
    Bundle,
    Endpoint,
    EndpointLoad,
    Fleet,
    Indexer,
    IndexSource,
    LiveProfile,
    LoadedBundle,
    Service,
)

CUT = "…"
KINDS = ("gateway", "indexer", "predictor", "router", "sidecar", "trainer")
EPOCH = 1_790_000_000_000


def shown(page: RenderableType, columns: int = 120) -> str:
    """The page as plain text."""
    out = io.StringIO()
    Console(file=out, width=columns, highlight=False).print(page)
    return out.getvalue()


def unwrapped(text: str) -> str:
    """Text without blanks, to find what was folded over lines in a table of one row."""
    return "".join(text.split())


def service(kind: str, health: str = "serving") -> Service:
    """A replica with names of usual length."""
    return Service(kind, f"{kind}-7d9c6b5f4-x2v9q", "10.244.13.107:50051", health, 5400.0, "0.1.0")


def endpoint(endpoint_id: str = "e0", is_leased: bool = True, epoch: int = EPOCH) -> Endpoint:
    """An endpoint with names of usual length."""
    return Endpoint(
        endpoint_id,
        "http://10.244.13.107:8000",
        "default",
        "meta-llama/Llama-3.1-8B",
        ("sql-lora",),
        16,
        27_648,
        epoch,
        is_leased,
    )


def source(
    endpoint_id: str = "e0", confidence: str = "EXACT", reason: str = "", epoch: int = EPOCH
) -> IndexSource:
    """An index source."""
    return IndexSource(endpoint_id, "indexer-0", confidence, reason, epoch, 7, 120, 27_001, 64)


def load(
    endpoint_id: str = "e0",
    age_ms: int | None = 80,
    inhibited: bool = False,
    drift_tokens: float = 0.0,
) -> EndpointLoad:
    """A load."""
    return EndpointLoad(endpoint_id, "router-0", age_ms, inhibited, drift_tokens)


SERVICES = tuple(map(service, KINDS))


def fleet(
    services: tuple[Service, ...] = SERVICES,
    endpoints: tuple[Endpoint, ...] = (endpoint(),),
    trainer_leader: str | None = "trainer-7d9c6b5f4-x2v9q",
    loaded_version: int = 3,
    profiles: tuple[LiveProfile, ...] = (LiveProfile("router-0", "predicted"),),
    index: tuple[IndexSource, ...] = (source(),),
    loads: tuple[EndpointLoad, ...] = (load(),),
    unread: tuple[str, ...] = (),
) -> Fleet:
    """A whole fleet, but for what is given."""
    bundle = Bundle(
        "meta-llama/Llama-3.1-8B", 3, 340.0, 12_400, (LoadedBundle("predictor-0", loaded_version),)
    )
    return Fleet(
        services,
        endpoints,
        trainer_leader,
        (bundle,),
        profiles,
        (Indexer("indexer-0", 80_000, 1 << 20),),
        index,
        loads,
        unread,
    )
