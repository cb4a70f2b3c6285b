"""The pages of `farsight index diff` and `farsight index dump`."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farsight.cli import words
from farsight.cli.index_contents import TIERS
from farsight.cli.index_replicas import Dump
from farsight.cli.index_report import DiffReport, ReplicaDiff, TierDiff, Verdict
from farsight.cli.tables import fitted, new_table

FIGURES = frozenset({"delta", "group", "equal", "only in\nindex", "only in\nmirror", "blocks"})
STATES = frozenset({"confidence", "tier", "epoch"})
COLOURS = {
    Verdict.EQUAL: "green",
    Verdict.DIFFERENT: "bold red",
    Verdict.NOT_HELD: "dim",
    Verdict.NOT_COMPARED: "bold yellow",
}


def render_diff(report: DiffReport) -> RenderableType:
    """A table of every endpoint, replica, tier and group, and the verdict."""
    table = new_table(
        (
            *("endpoint", "indexer", "confidence", "delta", "tier", "group"),
            *("equal", "only in\nindex", "only in\nmirror", "first keys"),
        ),
        FIGURES,
        STATES,
    )
    for endpoint in report.endpoints:
        for replica in endpoint.replicas:
            _add_replica(table, endpoint.endpoint_id, replica)
    return Group(fitted(table), Text(), *_verdict(report))


def _add_replica(table: Table, endpoint_id: str, replica: ReplicaDiff) -> None:
    known = (Text(endpoint_id), Text(replica.indexer), words.confidence(replica.confidence))
    if not replica.tiers:
        said = replica.verdict if replica.verdict != Verdict.EQUAL else "equal: both are empty"
        row = (words.NOTHING,) * 6
        table.add_row(*known, *row, Text(said, COLOURS[replica.verdict]))
    for tier in replica.tiers:
        table.add_row(
            *known,
            str(replica.seq),
            tier.tier,
            str(tier.group),
            words.count(tier.equal),
            _wrong(tier.only_in_index, True),
            _wrong(tier.only_in_mirror, not tier.is_shared),
            _first_keys(tier),
        )


def _wrong(number: int, is_wrong: bool) -> Text:
    return Text(words.count(number), "bold red" if number and is_wrong else "")


def _first_keys(tier: TierDiff) -> Text:
    sides = (
        ("index", tier.only_in_index, tier.first_only_in_index),
        ("mirror", tier.only_in_mirror, tier.first_only_in_mirror),
    )
    parts = [
        f"{side}: {' '.join(keys)}{' ...' if number > len(keys) else ''}"
        for side, number, keys in sides
        if keys
    ]
    return Text("; ".join(parts) or words.NOTHING)


def _verdict(report: DiffReport) -> Iterator[Text]:
    for endpoint in report.endpoints:
        for replica in endpoint.replicas:
            where = f"endpoint {endpoint.endpoint_id} at indexer {replica.indexer}"
            if replica.why:
                yield Text(f"{where} could not be compared: {replica.why}", "yellow")
            elif replica.reason:
                yield Text(f"{where} is {replica.confidence}: {replica.reason}")
    if any(tier.is_shared and tier.only_in_mirror for tier in _tiers(report)):
        yield Text("Blocks on shared storage may have been removed by another member of the pool.")
    words_of = {
        Verdict.EQUAL: "Equal: {} endpoints",
        Verdict.DIFFERENT: "Different",
        Verdict.NOT_COMPARED: "Not everything could be compared",
    }
    verdict = words_of[report.verdict].format(len(report.endpoints))
    yield Text(verdict, COLOURS[report.verdict])


def _tiers(report: DiffReport) -> Iterator[TierDiff]:
    for endpoint in report.endpoints:
        for replica in endpoint.replicas:
            yield from replica.tiers


def render_dump(dumps: Sequence[tuple[str, Dump]]) -> RenderableType:
    """A table of what each replica holds, by tier and group."""
    table = new_table(
        ("indexer", "confidence", "epoch", "delta", "tier", "group", "blocks", "reason"),
        FIGURES,
        STATES,
    )
    for indexer, dump in dumps:
        contents = dump.contents
        held = {at: keys.size for at, keys in sorted(contents.held.items())}
        rows = [(TIERS[tier], str(group), words.count(n)) for (tier, group), n in held.items()]
        for row in rows or [(words.NOTHING, words.NOTHING, "0")]:
            table.add_row(
                Text(indexer),
                words.confidence(dump.confidence),
                str(contents.epoch),
                str(contents.seq),
                *row,
                Text(dump.reason),
            )
    return fitted(table)
