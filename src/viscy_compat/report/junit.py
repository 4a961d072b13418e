"""The report as JUnit XML: a suite for each stage, a test case for each result.

The document is valid under both schemas that are in use (that of Jenkins and the older one of Ant), so it has the
elements that either of them asks for. Times are those of no test: a report does not measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from xml.sax.saxutils import escape, quoteattr

from viscy_compat.exhibits import Table
from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.page import Message, Page, Section, page_of
from viscy_compat.report.runners import without_commands
from viscy_compat.report.terminal import Style, separated


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the document, test case by test case."""
    page = page_of(report)
    groups = dict.fromkeys(heading.group for heading in page.sections.headings) or {page.title: None}
    suites = (part for number, group in enumerate(groups) for part in _suite(page, group, number))
    parts = chain(['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"], suites, ["</testsuites>"])
    yield from separated("\n", (without_commands(part, "&#35;") for part in parts))


def _suite(page: Page, group: str, number: int) -> Iterator[str]:
    codes = [heading.exit_code for heading in page.sections.headings if heading.group == group]
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    attributes = {
        "name": group,
        "package": "viscy_compat",
        "id": str(number),
        "timestamp": stamp,
        "hostname": "localhost",
        "tests": str(len(codes)),
        "failures": str(codes.count(1)),
        "errors": str(codes.count(2)),
        "time": "0",
    }
    output = [page.sentence, *([page.headline] if page.headline else [])]
    yield _open("testsuite", attributes)
    properties = {"command": page.title, "verdict": page.verdict, "headline": page.headline}
    rows = [_open("property", {"name": key, "value": text}, closed=True) for key, text in properties.items() if text]
    yield "\n".join(["<properties>", *rows, "</properties>"])
    # the schema of Jenkins has room for what a test case printed, that of Ant only for what a whole suite did
    for _, section in page.sections.where(lambda heading: heading.group == group):
        yield _testcase(section)
        lines = facts_of(section)
        output += [f"{section.title}: {section.verdict}", *(f"  {line}" for line in lines)] if lines else []
    first, *more = output
    yield f"<system-out>{_body([first])}"
    yield from (_body([line]) for line in more)
    yield "</system-out>"
    yield "<system-err/>"
    yield "</testsuite>"


def _testcase(section: Section) -> str:
    attributes = {"name": section.title, "classname": f"viscy_compat.{section.group}", "time": "0"}
    if not section.exit_code:
        return _open("testcase", attributes, closed=True)
    # a test case fails in one way: the first error names it, and its text has all of them
    first = next(message for message in section.messages if message.severity == "error")
    name = "failure" if section.exit_code == 1 else "error"
    inner = _open(name, {"type": first.code or section.verdict, "message": first.message})
    return f"{_open('testcase', attributes)}\n{inner}{_body(_lines(section.messages))}</{name}>\n</testcase>"


def facts_of(section: Section) -> list[str]:
    """Return what a section shows besides findings, a line each."""
    exhibits = section.exhibits
    notes = [] if section.exit_code else _lines(section.messages)
    lines = [exhibits.sentence, section.lead, *notes]
    # a whole script is printed by other formats
    lines += [f"{paste.label}: {paste.code}" for paste in exhibits.pastes if "\n" not in paste.code]
    lines += [f"{fact.name}: {fact.value}" for fact in exhibits.facts]
    lines += [f"{table.title}: {'; '.join(_cells(table, row))}" for table in exhibits.tables for row in table.rows]
    return [line for line in lines if line]


def _cells(table: Table, row: tuple[str, ...]) -> list[str]:
    return [f"{column} {cell}" for column, cell in zip(table.columns, row, strict=True)]


def _lines(messages: tuple[Message, ...]) -> list[str]:
    lines = []
    for message in messages:
        lines.append(f"{message.code} {message.severity}: {message.message}".strip())
        lines += [f"  {key}" for key in message.keys]
        lines += [f"  Fix: {message.fix}"] if message.fix else []
    return lines


def _open(name: str, attributes: dict[str, str], *, closed: bool = False) -> str:
    words = [name, *(f"{key}={quoteattr(_clean(value))}" for key, value in attributes.items())]
    return f"<{' '.join(words)}{'/' if closed else ''}>"


def _body(lines: list[str]) -> str:
    return escape("\n".join(_clean(line) for line in lines))


def _clean(words: str) -> str:
    """Escape what XML cannot hold, even as a character reference."""
    return "".join(char if char == "\n" else printable(char) for char in words).replace("\n", " / ")
