"""A map as a picture: inline SVG, one square for each pair of values, told apart by colour, with the outcome as its title."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from viscy_compat.exhibits import Map
from viscy_compat.layout import printable

SQUARE = 22
_LEFT, _TOP, _LEGEND = 74, 40, 20

# Okabe and Ito's colours, which people of every colour vision tell apart; the known outcomes have theirs.
_KNOWN = {
    "exact": "#009e73",
    "rounded": "#f0e442",
    "lossy": "#e69f00",
    "refuses to run": "#d55e00",
    "refuses to build": "#999999",
}
_OTHERS = ("#56b4e9", "#cc79a7", "#0072b2")


def drawing(drawn: Map) -> str:
    """Return an SVG element with a caption, the squares, both scales and a legend.

    Examples
    --------
    >>> from viscy_compat.exhibits import Fact
    >>> one = Map("sizes", Fact("size", ""), Fact("stride", ""), ("64",), ("4",), (("exact",),))
    >>> drawing(one).count("<rect ")
    2
    """
    outcomes = list(dict.fromkeys(name for row in drawn.outcomes for name in row))
    height = _TOP + SQUARE * len(drawn.rows) + 30 + _LEGEND * len(outcomes)
    width = max(_LEFT + SQUARE * len(drawn.columns) + 10, 360)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{_text(drawn.title)}</title>",
        *_scales(drawn),
        *_squares(drawn, outcomes),
        *_legend(outcomes, height - _LEGEND * len(outcomes)),
        "</svg>",
    ]
    return "".join(parts)


def color_of(outcome: str, outcomes: list[str]) -> str:
    """Return the colour of an outcome: its own, or one of the others in the order of appearance.

    Examples
    --------
    >>> color_of("exact", ["exact"]), color_of("odd", ["exact", "odd"])
    ('#009e73', '#56b4e9')
    """
    unknown = [name for name in outcomes if name not in _KNOWN]
    return _KNOWN[outcome] if outcome in _KNOWN else _OTHERS[unknown.index(outcome) % len(_OTHERS)]


def _scales(drawn: Map) -> Iterator[str]:
    yield f'<text x="0" y="12">{_text(_caption(drawn))}</text>'
    for index, name in enumerate(drawn.columns):
        if index % _step(drawn.columns) == 0:
            yield f'<text x="{_LEFT + SQUARE * index}" y="{_TOP - 6}">{_text(name)}</text>'
    for index, name in enumerate(drawn.rows):
        yield f'<text x="{_LEFT - 6}" y="{_TOP + SQUARE * index + 15}" text-anchor="end">{_text(name)}</text>'


def _caption(drawn: Map) -> str:
    across, down = (f"{fact.name} {fact.value}".strip() for fact in (drawn.x, drawn.y))
    return f"{drawn.title}: {across} across, {down} down"


def _step(names: tuple[str, ...]) -> int:
    """Leave out names of columns that would run into each other."""
    longest = max(map(len, names), default=1)
    return -(-7 * (longest + 1) // SQUARE)


def _squares(drawn: Map, outcomes: list[str]) -> Iterator[str]:
    for down, (row, names) in enumerate(zip(drawn.rows, drawn.outcomes, strict=True)):
        for across, (column, name) in enumerate(zip(drawn.columns, names, strict=True)):
            place = f'x="{_LEFT + SQUARE * across}" y="{_TOP + SQUARE * down}"'
            told = _text(f"{drawn.x.name} {column}, {drawn.y.name} {row}: {name}")
            yield _square(place, SQUARE - 1, color_of(name, outcomes), told)


def _square(place: str, size: int, color: str, told: str) -> str:
    return f'<rect {place} width="{size}" height="{size}" fill="{color}"><title>{told}</title></rect>'


def _legend(outcomes: list[str], top: int) -> Iterator[str]:
    for index, name in enumerate(outcomes):
        y = top + _LEGEND * index
        yield _square(f'x="{_LEFT}" y="{y - 14}"', 14, color_of(name, outcomes), _text(name))
        yield f'<text x="{_LEFT + 20}" y="{y - 3}">{_text(name)}</text>'


def _text(words: str) -> str:
    return escape(printable(words))
