"""What the gate says, as a person reads it: the matrix, what blocks, the waivers, the verdict."""

from __future__ import annotations

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.page import page_of
from viscy_compat.report.terminal import Style, finding_lines, sentence_lines, table_lines

_ALWAYS = ("waivers", "waived")
"""Tables that are shown however quiet the report is: nobody must forget what was accepted."""


def render(report: Report[Result], style: Style) -> str:
    """Return the report as text."""
    page = page_of(report)
    blocks = ["\n".join(sentence_lines(printable(page.headline), style, rest=""))]
    tables = [table for table in page.exhibits.tables if not style.quiet or table.title in _ALWAYS]
    blocks += ["\n".join(table_lines(table.columns, table.rows, style)) for table in tables]
    for section in page.sections:
        # of what blocks nothing, what nobody judges (VC341) is named, however quiet the report is
        if section.exit_code or any(style.verbose or message.code == "VC341" for message in section.messages):
            lines = (line for message in section.messages for line in finding_lines(message, style))
            blocks.append("\n".join([f"{style.heading(section.title)}: {section.verdict}", *lines]))
    verdict = {0: "open", 1: "blocked", 2: "undecided: blocked"}[page.exit_code]
    blocks.append(f"{style.verdict(page.verdict, f'{report.command}: {verdict}')}. {page.sentence}")
    return "\n\n".join(block for block in blocks if block)
