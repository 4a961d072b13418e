"""What the JSON of a result holds and a report has not said yet: every format ends with it, so that none says less."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from viscy_compat.exhibits import Branch, Exhibits, Fact, laid_out
from viscy_compat.layout import printable
from viscy_compat.report.terminal import MARGIN, Style, sentence_lines

_TOO_SHORT = 3
"""A value of so few letters may stand in a report by chance."""

_COUNTED_AS = {"configurations": "cases"}
"""What reports call things that the JSON of the contract calls otherwise."""


def remainder(data: Mapping[str, Any], words: str, titles: Collection[str] = ()) -> Exhibits:
    """Return the facts and tables of a result's JSON that are not among these words, nor tables of these titles.

    Examples
    --------
    >>> left = remainder({"class": "Unet2d", "tensors": 12, "bytes": 900}, "Unet2d, 12 tensors")
    >>> [tuple(fact) for fact in left.facts]
    [('bytes', '900')]
    """
    whole = laid_out(data)
    tables = (table for table in whole.tables if table.title not in titles)
    unsaid = []
    for table in tables:
        cells = (Fact(*cell) for row in table.rows for cell in zip(table.columns, row, strict=True))
        # one cell that is missing shows the whole table: its row says what the cell is about
        if not all(_is_said(cell, words) for cell in cells):
            unsaid.append(table)
    return Exhibits(facts=tuple(fact for fact in whole.facts if not _is_said(fact, words)), tables=tuple(unsaid))


def _is_said(fact: Fact, words: str) -> bool:
    name = fact.name.rpartition(".")[2]
    name = _COUNTED_AS.get(name, name)
    # texts write lists without blanks, and JSON has true where people read yes
    values = {fact.value, fact.value.replace(", ", ","), {"yes": "true", "no": "false"}.get(fact.value, fact.value)}
    names = (name, name.removesuffix("s")) if fact.value == "1" else (name,)
    if fact.value == "-" or any(
        f"{name}={value}" in words or f"{value} {name}" in words for value in values for name in names
    ):
        return True
    return any(len(value) > _TOO_SHORT and value in words for value in values - {"true", "false"})


def words_in(exhibits: Exhibits) -> Iterator[str]:
    """Yield every text that exhibits show; what stands beside a name, as it is set."""
    yield exhibits.sentence
    yield from (f"{fact.name}={fact.value}" for fact in exhibits.facts)
    yield from (paste.code for paste in exhibits.pastes)
    for table in exhibits.tables:
        for row in table.rows:
            yield from row
            yield from (f"{row[0]}={cell}" for cell in row[1:2])
            yield from (f"{column}={cell}" for column, cell in zip(table.columns, row, strict=True))
    yield from _leaves(exhibits.trees)


def _leaves(branches: Iterable[Branch]) -> Iterator[str]:
    for branch in branches:
        yield f"{branch.name} {branch.detail}"
        yield from _leaves(branch.branches)


def remainder_lines(data: Mapping[str, Any], words: str, style: Style) -> Iterator[str]:
    """Yield what a text has not said of a result, by the names that it has in the JSON."""
    rest = remainder(data, words)
    lines = [printable(f"{fact.name}: {fact.value}") for fact in rest.facts]
    for table in rest.tables:
        for row in table.rows:
            cells = (f"{column} {cell}" for column, cell in zip(table.columns, row, strict=True) if cell != "-")
            lines.append(printable(f"{table.title}: {', '.join(cells)}"))
    for line in lines:
        yield from sentence_lines(line, style, first=MARGIN * 2, rest=MARGIN * 4)
