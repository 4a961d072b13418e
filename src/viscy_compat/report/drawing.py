"""A map as a picture: inline SVG, coloured by outcome. Equal neighbours share one rectangle, so large maps stay small."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from operator import itemgetter

from viscy_compat.exhibits import Fact, Map
from viscy_compat.layout import printable

COLORS = {
    "exact": "#007a5e",
    "rounded": "#e69f00",
    "lossy": "#8c6bb1",
    "does not run": "#c3c9cf",
    "does not build": "#e8ebee",
}
"""Colours of the outcomes: what runs has colour, what does not is quiet. Told apart in grey, by how light they are, and by
people who do not see red and green alike."""

_OTHERS = ("#56b4e9", "#cc79a7", "#0072b2")
"""Of the colours of Okabe and Ito, which those who are colour-blind tell apart."""

_WIDE, _LARGEST, _SMALLEST = 700, 22, 6
"""The width of a map on a page, and the bounds of the side of a square, in pixels."""
_LEFT, _TOP, _LEGEND = 74, 40, 20
"""Room for the names of rows and of columns, and for a line of text, in pixels."""
_LETTERS = 110
"""So many letters of a caption fit below a map on a page."""


def drawing(chart: Map) -> str:
    """Return an SVG element with a caption, the rectangles, both scales and a legend.

    Examples
    --------
    >>> from viscy_compat.exhibits import Fact
    >>> one = Map("sizes", Fact("size", ""), Fact("stride", ""), ("64", "72"), ("4",), (("exact", "exact"),))
    >>> drawing(one).count("<rect ")
    2
    """
    size = size_of(chart)
    outcomes = list(dict.fromkeys(name for row in chart.outcomes for name in row))
    lines = caption(chart, _LETTERS).splitlines()
    top = _TOP + size * len(chart.rows) + 30
    # one line for each outcome, and one for each of the caption
    height = top + _LEGEND * (len(outcomes) + len(lines))
    width = max(_LEFT + size * len(chart.columns) + 10, 700 if lines else 360)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{_svg_text(chart.title)}</title>",
        *_scales(chart, size),
        *_rectangles(chart, outcomes, size),
        *_mark(chart, size),
        *_legend(outcomes, lines, top + _LEGEND),
        "</svg>",
    ]
    return "".join(parts)


def caption(chart: Map, width: int) -> str:
    """Say what every cell of a map has in common, and what is marked, in lines of so many letters.

    Examples
    --------
    >>> from viscy_compat.exhibits import Fact
    >>> fixed = (Fact("backbone", "resnet50"), Fact("latent_dim", "256"))
    >>> one = Map("vae", Fact("size", ""), Fact("stride", ""), ("64",), ("4",), (("exact",),), fixed, (0, 0))
    >>> print(caption(one, 60))
    Held fixed: backbone=resnet50, latent_dim=256.
    The circle: size 64, stride 4.
    """
    from textwrap import wrap

    fixed = ", ".join(f"{fact.name}={fact.value}" for fact in chart.fixed)
    lines = wrap(f"Held fixed: {fixed}.", width, break_on_hyphens=False) if fixed else []
    if chart.point:
        column, row = chart.columns[chart.point[0]], chart.rows[chart.point[1]]
        lines.append(f"The circle: {chart.x.name} {column}, {chart.y.name} {row}.")
    return "\n".join(lines)


def size_of(chart: Map) -> int:
    """Return the side of one square, in pixels, so that a map of many columns still fits a page.

    Examples
    --------
    >>> from viscy_compat.exhibits import Fact
    >>> wide = Map("", Fact("", ""), Fact("", ""), tuple(map(str, range(81))), ("1",), (("exact",) * 81,))
    >>> size_of(wide), size_of(wide._replace(columns=("1",)))
    (8, 22)
    """
    return max(_SMALLEST, min(_LARGEST, _WIDE // max(1, len(chart.columns))))


def color_of(outcome: str, outcomes: list[str]) -> str:
    """Return the colour of an outcome: its own, or one of the others in the order of appearance.

    Examples
    --------
    >>> color_of("exact", ["exact"]), color_of("odd", ["exact", "odd"])
    ('#007a5e', '#56b4e9')
    """
    unknown = [name for name in outcomes if name not in COLORS]
    return COLORS[outcome] if outcome in COLORS else _OTHERS[unknown.index(outcome) % len(_OTHERS)]


def _scales(chart: Map, size: int) -> Iterator[str]:
    yield f'<text x="0" y="12">{_svg_text(f"{chart.title}: {_axis(chart.x)} across, {_axis(chart.y)} up")}</text>'
    # names of columns that would run into each other are left out; a letter is about 7 pixels wide
    longest = max(map(len, chart.columns), default=1)
    for index in range(0, len(chart.columns), max(1, -(-7 * (longest + 1) // size))):
        yield f'<text x="{_LEFT + size * index}" y="{_TOP - 6}">{_svg_text(chart.columns[index])}</text>'
    # a line of the page's 11 pixel letters needs 12: with smaller squares some names are left out
    for index in range(0, len(chart.rows), -(-12 // size)):
        middle = _TOP + size * (len(chart.rows) - 1 - index) + size // 2 + 4
        yield f'<text x="{_LEFT - 6}" y="{middle}" text-anchor="end">{_svg_text(chart.rows[index])}</text>'


def _axis(fact: Fact) -> str:
    return f"{fact.name} {fact.value}".strip()


def _rectangles(chart: Map, outcomes: list[str], size: int) -> Iterator[str]:
    for up, (row, names) in enumerate(zip(chart.rows, chart.outcomes, strict=True)):
        for name, run in groupby(enumerate(names), key=itemgetter(1)):
            places = [place for place, _ in run]
            tip = f"{chart.x.name} {_span(chart.columns, places)}, {chart.y.name} {row}: {name}"
            # the first row is at the bottom, as in every plot
            top = _TOP + size * (len(chart.rows) - 1 - up)
            area = (_LEFT + size * places[0], top, size * len(places) - 1, size - 1)
            yield _rectangle(area, color_of(name, outcomes), tip)


def _span(names: tuple[str, ...], places: list[int]) -> str:
    first, last = names[places[0]], names[places[-1]]
    return first if first == last else f"{first} to {last}"


def _rectangle(area: tuple[int, int, int, int], color: str, tip: str) -> str:
    x, y, width, height = area
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect {place} fill="{color}"><title>{_svg_text(tip)}</title></rect>'


def _mark(chart: Map, size: int) -> Iterator[str]:
    """Draw a ring around the configuration that was asked about, black on white, so that it is seen on every colour."""
    if chart.point:
        x = _LEFT + size * chart.point[0] + size // 2
        y = _TOP + size * (len(chart.rows) - 1 - chart.point[1]) + size // 2
        for color, stroke in (("#fff", 4), ("#000", 2)):
            yield f'<circle cx="{x}" cy="{y}" r="{size}" fill="none" stroke="{color}" stroke-width="{stroke}"/>'


def _legend(outcomes: list[str], lines: list[str], top: int) -> Iterator[str]:
    """Draw what each colour means, and below it what all cells have in common."""
    for index, name in enumerate(outcomes):
        y = top + _LEGEND * index
        yield _rectangle((_LEFT, y - 14, 14, 14), color_of(name, outcomes), name)
        yield f'<text x="{_LEFT + 20}" y="{y - 3}">{_svg_text(name)}</text>'
    for index, line in enumerate(lines, len(outcomes)):
        yield f'<text x="0" y="{top + _LEGEND * index - 3}">{_svg_text(line)}</text>'


def _svg_text(words: str) -> str:
    return escape(printable(words))
