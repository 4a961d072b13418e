"""The report as GitHub-flavoured Markdown: for job summaries, pull requests and issues.

Everything that a file can have named is escaped: it becomes text or a code span, never markup, a link or a mention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from viscy_compat.exhibits import Branch, Exhibits, Map, Table
from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.page import Message, Page, Section, first_of, page_of
from viscy_compat.report.runners import without_commands
from viscy_compat.report.terminal import Style, separated

KEYS = 12
LARGEST = 24
"""Of a map with more columns only the counts are written."""
_SPECIAL = str.maketrans(
    {
        **{char: f"\\{char}" for char in "\\`*_[]<>|~$!"},
        "&": "&amp;",
        "@": "@&#8203;",
        "#": "#&#8203;",
    }
)
"""What Markdown acts on, and GitHub: mentions of people and of issues."""


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield a document: the verdict, a row for each result, and a part for each that needs attention."""
    page = page_of(report)
    blocks = (
        *_head(page),
        *_overview(page),
        *_exhibits(page.exhibits._replace(tables=())),
    )
    parts = (part for section in page.sections for part in _part(section, style, alone=len(page.sections) == 1))
    yield from separated("\n\n", map(without_commands, chain(blocks, parts)))


def text(words: str) -> str:
    r"""Escape words so that Markdown shows them as they are.

    Examples
    --------
    >>> text("a*b <c> @you")
    'a\\*b \\<c\\> @&#8203;you'
    """
    line = printable(words).strip().translate(_SPECIAL)
    # GitHub makes links of addresses by itself, whatever stands around them
    line = line.replace("://", ":&#8203;//").replace("www.", "www&#46;")
    # what begins a line could make it a list, a rule or a heading
    number = len(line) - len(line.lstrip("0123456789"))
    begins = line[number : number + 1] in tuple("-+=.)") and line != ""
    return f"{line[:number]}\\{line[number:]}" if begins else line


def code(words: str) -> str:
    """Return a code span that shows words as they are, backticks included.

    Examples
    --------
    >>> code("model.stem"), code("a`b"), code("a|b")
    ('`model.stem`', '`` a`b ``', '`a\\\\|b`')
    """
    line = printable(words).replace("|", "\\|") or " "
    if "`" not in line:
        # spaces at both ends would be taken off, unless there is nothing else
        return f"` {line} `" if line[0] == line[-1] == " " and line.strip() else f"`{line}`"
    # a span ends at as many backticks as it begins with: one more than it holds
    fence = "`" * (1 + max(len(run) for run in _backticks(line)))
    return f"{fence} {line} {fence}"


def block(words: str) -> str:
    """Return a code block that shows lines as they are, fences included.

    Examples
    --------
    >>> print(block("a\\n```b"))
    ````
    a
    ```b
    ````
    """
    fence = "`" * max(3, 1 + max(len(run) for run in _backticks(words)))
    return f"{fence}\n{words}\n{fence}"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are escaped already."""
    heads = list(columns)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(page: Page) -> Iterator[str]:
    yield f"# {text(page.title)}" + ("" if page.is_list else f": {page.word}")
    if page.headline:
        yield text(page.headline)
    yield f"**{text(page.sentence)}**"


def _overview(page: Page) -> Iterator[str]:
    """List every result, unless the report brings a table of its own."""
    if page.exhibits.tables:
        yield from (f"## {text(exhibit.title)}\n\n{_cells(exhibit)}" for exhibit in page.exhibits.tables)
    elif page.sections:
        rows = [
            [code(part.title), text(part.verdict), text(part.kind or "-"), ", ".join(part.codes) or "-"]
            for part in page.sections.headings
        ]
        yield table(["about", "verdict", "what", "findings"], rows)


def _part(section: Section, style: Style, *, alone: bool) -> Iterator[str]:
    yield f"## {code(section.title)}: {text(section.verdict)}"
    if section.exhibits.sentence and not alone:
        yield text(section.exhibits.sentence)
    if section.lead:
        yield text(section.lead)
    if section.messages:
        yield "\n".join(_item(message, None if style.verbose else KEYS) for message in section.messages)
    for paste in section.exhibits.pastes:
        if "\n" in paste.code:
            yield f"{text(paste.label[0].upper() + paste.label[1:])}:\n\n{block(paste.code)}"
            continue
        yield f"{text(paste.label[0].upper() + paste.label[1:])}: {code(paste.code)}"
    if section.next and not section.exhibits.pastes:
        yield f"Next: {code(section.next)}"
    yield from _exhibits(section.exhibits)


def _item(message: Message, limit: int | None) -> str:
    name = f"**{message.code}** ({message.severity}) " if message.code else ""
    lines = [f"- {name}{text(message.message)}"]
    keys, count = first_of(message.keys, limit=limit)
    if keys:
        more = f" and {count} more" if count else ""
        lines.append(f"  <br>{', '.join(code(key) for key in keys)}{more}")
    if message.fix:
        lines.append(f"  <br>Fix: {text(message.fix)}")
    return "\n".join(lines)


def _exhibits(exhibits: Exhibits) -> Iterator[str]:
    if exhibits.facts:
        rows = [[text(fact.name), text(fact.value)] for fact in exhibits.facts]
        yield _fold("facts", table(["fact", "value"], rows))
    for exhibit in exhibits.tables:
        yield _fold(exhibit.title, _cells(exhibit))
    for chart in exhibits.maps:
        yield _fold(chart.title, _grid(chart))
    for tree in exhibits.trees:
        lines = "\n".join(_items_of(tree.branches, 0))
        yield _fold(f"{tree.name}: {tree.detail}", lines)


def _items_of(branches: Iterable[Branch], depth: int) -> Iterator[str]:
    """Yield an item for each branch; beyond some depth they stand below each other, where Markdown would see code."""
    for branch in branches:
        yield f"{'  ' * min(depth, 8)}- {code(branch.name)} {text(branch.detail)}".rstrip()
        yield from _items_of(branch.branches, depth + 1)


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>\n\n{body}\n\n</details>"


def _cells(exhibit: Table) -> str:
    return table(map(text, exhibit.columns), [map(text, row) for row in exhibit.rows])


def _grid(chart: Map) -> str:
    if len(chart.columns) > LARGEST:
        counts = Counter(name for row in chart.outcomes for name in row)
        return table(["outcome", "cases"], [[text(name), str(count)] for name, count in counts.items()])
    corner = f"{text(chart.y.name)} \\\\ {text(chart.x.name)}"
    rows = [[text(name), *map(text, row)] for name, row in zip(chart.rows, chart.outcomes, strict=True)]
    return table([corner, *map(text, chart.columns)], rows)


def _backticks(line: str) -> list[str]:
    runs, current = [""], ""
    for char in line:
        current = current + char if char == "`" else ""
        runs.append(current)
    return runs
