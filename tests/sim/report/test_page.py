"""The HTML page of a result directory."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sim.cells import CellResult, Cost, ResultStore, StoredCells
from sim.report.page import render
from sim.report.palette import looks
from tests.fakes.cell_results import cell, figures, ladder_cell

ROOT = Path(__file__).parents[3]
POLICIES = ("farsight", "oracle", "random", "round-robin")
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A parsed page: its elements, what each table row says, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the element; a row begins a list of texts."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of SVG without content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Tags close in the order in which they were opened."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text of a table's field."""
        if {"td", "th"} & set(self.open[-3:]):
            self.rows[-1][-1] += data


def small() -> tuple[CellResult, ...]:
    """A workload in two stages and one at a single load."""
    staged = [
        ladder_cell(policy, seed, {10.0: 0.2 * seed, 20.0: place * seed})
        for place, policy in enumerate(POLICIES, 1)
        for seed in (1, 2)
    ]
    return (*staged, *(cell(policy, workload="chat") for policy in POLICIES))


@pytest.fixture(scope="module")
def text() -> str:
    """The page of those cells."""
    return page_of(*small())


def page_of(*results: CellResult) -> str:
    """The page when nothing failed."""
    return render(StoredCells(results, (), ()))


def test_every_policy_has_a_row_in_each_table(text: str) -> None:
    """Two summaries and the two loads of the ladder, with a text for each column."""
    page = Page(text)

    for policy in POLICIES:
        rows = [row for row in page.rows if row and row[0].strip() == policy]
        assert [len(row) for row in rows] == [19, 15, 15, 19]
        assert all(field.strip() for row in rows for field in row)


def test_the_page_says_what_was_run(text: str) -> None:
    """Workloads, pods, seeds, and how much of it."""
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", text))
    assert facts["workloads"] == "b2b-saas, chat"
    assert (facts["pods"], facts["seeds"], facts["cells"]) == ("8", "1, 2", "12")
    assert (facts["requests"], facts["failed cells"]) == ("12,000", "none")


def test_the_page_opens_offline(text: str) -> None:
    """No script, and no reference to anything outside of the page."""
    page = Page(text)

    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "iframe", "img", "object", "base"}
    references = [
        attributes[name]
        for _, attributes in page.elements
        for name in ("src", "href", "xlink:href", "action", "data")
        if name in attributes
    ]
    assert references
    assert all(reference and reference.startswith("#") for reference in references)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}


def test_the_page_is_well_formed(text: str) -> None:
    """Every tag is closed, no id is there twice, and every anchor leads somewhere."""
    page = Page(text)

    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    anchors = {(a["href"] or "")[1:] for tag, a in page.elements if tag == "a" and "href" in a}
    assert anchors
    assert anchors <= set(ids)


def test_a_policy_keeps_its_colour(text: str) -> None:
    """In the list of policies, in every table and on the plots of both sections."""
    for policy, look in looks(POLICIES).items():
        swatches = re.findall(rf"solid (#\w+)\"></i>{policy}\b", text)
        assert policy == "oracle" or swatches == [look.colour] * 5
        assert text.count(f"stroke: {look.colour}") > 12


def test_equal_cells_give_equal_bytes(text: str) -> None:
    """In any order, and whatever they cost."""
    slower = [replace(result, cost=Cost(9e9, 9e9)) for result in reversed(small())]

    assert page_of(*slower) == text


def test_another_figure_gives_another_page() -> None:
    """So equal bytes say something."""
    assert page_of(cell()) != page_of(cell(overall=figures(0.3)))


def test_another_process_writes_the_same_bytes(text: str, tmp_path: Path) -> None:
    """Nothing depends on the hashes of strings, which differ from one to the next."""
    store = ResultStore(tmp_path)
    for result in small():
        store.write(result)
    program = (
        "import sys; from pathlib import Path; from sim.cells import ResultStore;"
        "from sim.report.page import write_page;"
        "write_page(ResultStore(Path(sys.argv[1])).read_all(), Path(sys.argv[2]))"
    )

    there = tmp_path / "report.html"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", program, str(tmp_path), str(there)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)

    assert there.read_text() == text


def test_failed_cells_are_listed_with_their_error(tmp_path: Path) -> None:
    """Also a file that does not parse; what they say is text, not markup."""
    store = ResultStore(tmp_path)
    store.write(cell("farsight"))
    store.failed(cell("random").key, "Overloaded: <script>alert('&')</script>")
    (tmp_path / "torn.cell.json").write_text("{")

    text = render(store.read_all())

    assert "<script>" not in text
    errors = [row[-1] for row in Page(text).rows[-2:]]
    assert errors[0] == "Overloaded: <script>alert('&')</script>"
    assert "torn.cell.json" in errors[1]
    assert cell("random").key.stem in text


def test_names_are_text() -> None:
    """Of workloads, policies and settings."""
    odd = '<b title="x">&'

    page = Page(page_of(cell(policy=odd, workload=odd, settings=((odd, odd),))))

    assert "b" not in {tag for tag, _ in page.elements}
    assert any(row and row[0].strip() == odd for row in page.rows)


def test_missing_cells_are_said() -> None:
    """A policy whose means are over fewer cells has a star."""
    cells = [cell("random", rate=10.0), cell("random", rate=20.0), cell("farsight", rate=10.0)]

    firsts = [" ".join(row[0].split()) for row in Page(page_of(*cells)).rows if row]

    assert "farsight *" in firsts
    assert "random *" not in firsts


def test_no_cell_makes_a_page_too() -> None:
    """As when every one failed."""
    text = page_of()

    assert "No cell has finished" in text
    assert Page(text).open == []


def test_a_workload_without_a_ladder_has_its_table() -> None:
    """A closed loop whose load is the workload's own has nothing to be drawn against."""
    page = Page(page_of(cell(rate=None)))

    assert "svg" not in {tag for tag, _ in page.elements}
    assert any(row and row[0].strip() == "least-requests" for row in page.rows)
