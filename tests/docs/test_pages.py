"""The pages agree with the code and with each other."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Fragments that the headings of a page make."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link is a file of the project, each fragment a heading in it."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_configuration_page_is_current() -> None:
    """`make docs` would change nothing."""
    made = runpy.run_path(str(ROOT / "docs" / "configuration.py"))["page"]()

    assert (ROOT / "docs" / "configuration.md").read_text() == made, "run `make docs`"


def test_every_direct_dependency_has_its_reason() -> None:
    """The page lists what `pyproject.toml` asks for, no more and no less."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [re.split(r"[<>=!~ ;\[]", requirement)[0] for requirement in wanted]
    page = (ROOT / "docs" / "dependencies.md").read_text()

    listed = re.findall(r"^\| `([^`]+)` \| \S", page, re.MULTILINE)

    assert sorted(listed) == sorted(names)


def test_fallbacks_of_the_router_are_on_the_ladder() -> None:
    """Each reason that the router can name stands in `docs/degradation.md`."""
    ladder = (ROOT / "docs" / "degradation.md").read_text()
    code = "".join(path.read_text() for path in ROOT.glob("services/router/*.py"))
    literal = set(re.findall(r"\"(index-[a-z-]+|predictor-[a-z-]+)\"", code))
    causes = {"none", "timeout", "unavailable", "breaker"}
    made = {f"{part}-{cause}" for part in ("index", "predictor") for cause in causes}

    assert literal
    for reason in literal | made:
        assert f"`{reason}`" in ladder
