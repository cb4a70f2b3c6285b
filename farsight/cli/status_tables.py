"""The status page: a table for each part of the fleet, and what is wrong with it."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from farsight.cli import words
from farsight.cli.status_report import SERVING, Bundle, Endpoint, Fleet, IndexSource, Report
from farsight.cli.tables import fitted, new_table

FIGURES = frozenset(
    {
        *("uptime", "block\ntokens", "KV\nblocks", "load\nage", "samples"),
        *("lag", "age", "device\nblocks", "host\nblocks"),
    }
)
STATES = frozenset({"service", "address", "epoch", "lease", "confidence", "version"})


def render(report: Report) -> RenderableType:
    """The whole page."""
    fleet = report.fleet
    return Group(
        *_section("Services", _services(fleet)),
        *_section("Endpoints", _endpoints(fleet)),
        *_section("Latency bundles", _bundles(fleet)),
        *_section("KV index", _index(fleet)),
        *_facts(fleet),
        *_verdict(report),
    )


def _section(title: str, table: Table) -> Iterator[RenderableType]:
    yield Text(title, "bold")
    yield fitted(table) if table.row_count else Text("none", "dim")
    yield Text()


def _table(*headers: str) -> Table:
    return new_table(headers, FIGURES, STATES)


def _services(fleet: Fleet) -> Table:
    table = _table("service", "replica", "address", "health", "uptime", "version")
    for service in fleet.services:
        table.add_row(
            service.kind,
            Text(service.replica_id),
            Text(service.address),
            Text(service.health, "green" if service.health == SERVING else "bold red"),
            words.duration(service.uptime_s),
            Text(service.version),
        )
    return table


def _endpoints(fleet: Fleet) -> Table:
    table = _table(
        *("endpoint", "url", "pool", "model", "block\ntokens", "KV\nblocks"),
        *("epoch", "lease", "load\nage"),
    )
    for endpoint in fleet.endpoints:
        table.add_row(
            Text(endpoint.endpoint_id),
            Text(endpoint.url),
            Text(endpoint.pool),
            _model(endpoint),
            words.count(endpoint.block_size_tokens),
            words.count(endpoint.kv_blocks),
            str(endpoint.epoch),
            Text("yes", "green") if endpoint.is_leased else Text("NO", "bold red"),
            _oldest_load(fleet, endpoint.endpoint_id),
        )
    return table


def _model(endpoint: Endpoint) -> Text:
    adapters = ", ".join(endpoint.lora_names)
    return Text(f"{endpoint.model} (+ {adapters})" if adapters else endpoint.model)


def _oldest_load(fleet: Fleet, endpoint_id: str) -> str:
    """Load age at the router that heard of the endpoint longest ago."""
    ages = [load.load_age_ms for load in fleet.loads if load.endpoint_id == endpoint_id]
    if not ages:
        return words.NOTHING
    known = [age_ms for age_ms in ages if age_ms is not None]
    return words.age(max(known) if len(known) == len(ages) else None)


def _bundles(fleet: Fleet) -> Table:
    table = _table("model", "version", "age", "samples", "loaded by")
    for bundle in fleet.bundles:
        table.add_row(
            Text(bundle.model),
            str(bundle.version) if bundle.version else "none yet: analytic model",
            words.NOTHING if bundle.age_s is None else words.duration(bundle.age_s),
            words.count(bundle.sample_count) if bundle.version else words.NOTHING,
            _loaded(bundle),
        )
    return table


def _loaded(bundle: Bundle) -> Text:
    cell = Text()
    for loaded in bundle.loaded if bundle.version else ():
        if cell:
            cell.append(", ")
        is_live = loaded.version == bundle.version
        behind = "" if is_live else f" (version {loaded.version})"
        cell.append(loaded.predictor + behind, "" if is_live else "bold red")
    return cell or Text(words.NOTHING)


def _index(fleet: Fleet) -> Table:
    table = _table(
        *("endpoint", "indexer", "confidence", "lag", "age", "device\nblocks", "host\nblocks"),
        "reason",
    )
    registered = {endpoint.endpoint_id for endpoint in fleet.endpoints}
    for source in fleet.index:
        table.add_row(
            Text(source.endpoint_id),
            Text(source.indexer),
            words.confidence(source.confidence),
            words.count(source.lag_deltas),
            words.age(source.age_ms),
            words.count(source.device_blocks),
            words.count(source.host_blocks),
            _reason(source, registered),
        )
    return table


def _reason(source: IndexSource, registered: Iterable[str]) -> Text:
    parts = [source.reason] if source.reason else []
    if source.endpoint_id not in registered:
        parts.append("endpoint is not registered")
    return Text("; ".join(parts))


def _facts(fleet: Fleet) -> Iterator[Text]:
    yield Text(f"Trainer leader: {fleet.trainer_leader or 'none'}")
    live = sorted({profile.profile for profile in fleet.profiles})
    yield Text(f"Live profile:   {' / '.join(live) or 'unknown, no router answers'}")
    yield Text()


def _verdict(report: Report) -> Sequence[RenderableType]:
    if report.is_whole:
        fleet = report.fleet
        counted = f"{len(fleet.services)} services, {len(fleet.endpoints)} endpoints"
        return [Text(f"Whole: {counted}", "bold green")]
    title = Text(f"Not whole, {len(report.problems)} found:", "bold red")
    return [
        title,
        *(Padding(Text(problem, "red"), (0, 0, 0, 2), expand=False) for problem in report.problems),
    ]
