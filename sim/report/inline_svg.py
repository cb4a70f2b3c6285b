"""A matplotlib figure as SVG that can stand inside an HTML page."""

import html
import io
import re

from matplotlib.figure import Figure


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """As wide as its place on the page; `name` keeps its ids apart from other figures'.

    Equal figures give equal bytes if the `svg.hashsalt` setting is set.
    """
    out = io.StringIO()
    undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=undated)
    head, body = out.getvalue().split("<defs>", 1)
    box = re.search(r'viewBox="[\d. ]+"', head)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = body.replace("xlink:href", "href")
    return f'<svg {box[0]} role="img" aria-label="{html.escape(title)}"><defs>{body}'
