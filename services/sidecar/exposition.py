"""Single values from a Prometheus text page, found by search instead of parsing all of it."""

import re

_LABEL = re.compile(rb'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\\n]|\\.)*)"')


def find_line(page: bytes, name: bytes, rank: int) -> bytes | None:
    """The first sample of a metric for one engine rank, or one that carries no rank."""
    needle = b"\n" + name
    engine = b'engine="%d"' % rank
    at = page.find(needle)
    while at >= 0:
        end = page.find(b"\n", at + 1)
        line = page[at + 1 : end if end >= 0 else len(page)]
        is_metric = line[len(name) : len(name) + 1] in (b"{", b" ")
        if is_metric and (engine in line or b'engine="' not in line):
            return line
        at = page.find(needle, at + 1)
    return None


def value(page: bytes, name: bytes, rank: int) -> float | None:
    """Value of the sample that `find_line` finds; None when there is none or it is no number."""
    line = find_line(page, name, rank)
    try:
        return None if line is None else float(line.rpartition(b" ")[2])
    except ValueError:
        return None


def labels(line: bytes) -> dict[str, str]:
    """Labels of a sample line."""
    return {
        name.decode(): text.decode(errors="replace")
        for name, text in _LABEL.findall(line.partition(b"{")[2])
    }
