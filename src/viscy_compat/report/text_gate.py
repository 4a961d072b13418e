"""What the gate says, as a person reads it: the matrix, what blocks, the waivers, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viscy_compat.exhibits import Table
from viscy_compat.findings import Report
from viscy_compat.layout import printable
from viscy_compat.report import Style
from viscy_compat.report.page import Message, Section, page_of, shortened

_COLORS = {"holds": 32, "findings": 31, "undecided": 33, "waived": 33, "left out": 33}
_SEVERITY_COLORS = {"error": 31, "warning": 33, "note": 36}
_ALWAYS = ("waivers", "waived")
"""Tables that are shown however quiet the report is: nobody must forget what was accepted."""

KEYS = 5


def render(report: Report, style: Style) -> str:
    """Return the report as text."""
    page = page_of(report)
    blocks = [printable(page.headline)]
    tables = [table for table in page.exhibits.tables if not style.quiet or table.title in _ALWAYS]
    blocks += ["\n".join(_table(table, style)) for table in tables]
    told = [section for section in page.sections if section.exit_code or _worth_saying(section, style)]
    blocks += ["\n".join(_section(section, style)) for section in told]
    verdict = {0: "open", 1: "blocked", 2: "undecided: blocked"}[page.exit_code]
    blocks.append(f"{style.paint(f'{report.command}: {verdict}', 1, _COLORS[page.verdict])}. {page.sentence}")
    return "\n\n".join(block for block in blocks if block)


def _worth_saying(section: Section, style: Style) -> bool:
    """Whether a section that blocks nothing is shown: what nobody judges is named, however quiet the report is."""
    return any(style.verbose or message.code == "VC341" for message in section.messages)


def _table(table: Table, style: Style) -> Iterator[str]:
    """Lay out cells under each other; the last column is as long as it is."""
    rows = [table.columns, *table.rows]
    widths = [max(len(printable(row[place])) for row in rows) for place in range(len(table.columns))]
    yield style.paint(_line(table.columns, widths, Style()), 1)
    for row in table.rows:
        yield _line(row, widths, style)


def _line(row: Sequence[str], widths: Sequence[int], style: Style) -> str:
    cells = [_cell(printable(cell), width, style) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()


def _cell(word: str, width: int, style: Style) -> str:
    padded = word.ljust(width)
    return style.paint(padded, _COLORS[word]) if word in _COLORS else padded


def _section(section: Section, style: Style) -> Iterator[str]:
    yield f"{style.paint(printable(section.title), 1)}: {section.verdict}"
    for message in section.messages:
        yield from _message(message, style)


def _message(message: Message, style: Style) -> Iterator[str]:
    label = style.paint(f"{message.severity} {message.code}".strip(), _SEVERITY_COLORS[message.severity])
    yield f"  {label}: {printable(message.text)}"
    keys, left = shortened(message.keys, limit=None if style.verbose else KEYS)
    yield from (f"    {printable(key)}" for key in keys)
    if left:
        yield f"    ... and {left} more (-v shows all)"
    if message.fix:
        yield f"    fix: {printable(message.fix)}"
