"""What `audit` says: a line a file as it comes, and a table in which ten thousand files are a dozen rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from viscy_compat.findings import Report
from viscy_compat.fleet.outcome import AuditOutcome, Policy, ReportedRow
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.tally import Tally, TallyRow
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style, explained, pasted_lines, sentence_lines, size

_MOST_ROWS: Final = 6
"""Values of a group that are shown; -v shows them all."""
_INDENT: Final = 14
"""Columns of the longest verdict and two blanks: where the file's name begins."""


def row_line(row: AuditRow, style: Style) -> str:
    """Return the line of one file.

    Examples
    --------
    >>> row_line(AuditRow("a b.ckpt", "remappable", class_name="Unet2d", generation="v0.4", codes={"VC105": 1}), Style())
    'remappable    a b.ckpt  Unet2d v0.4  VC105'
    """
    parts = []
    if row.class_name:
        parts.append(f"{row.class_name} {row.generation}".rstrip())
    if row.needs:
        parts.append(f"to be stated: {', '.join(row.needs)}")
    if row.codes and row.verdict != "compatible":
        parts.append(" ".join(row.codes))
    if row.foreign:
        parts.append(printable(row.foreign))
    elif row.message and row.verdict == "unreadable":
        parts.append(printable(row.message))
    kind, file = f"{row.kind:<{_INDENT - 2}}", printable(row.file)
    head = f"{style.tint(row.kind, kind)}  {file}"
    lines = _put_behind(head, "  ".join(parts), _INDENT + len(file), style)
    return spelled_out("\n".join([*lines, *(_details(row, style) if style.verbose else ())]))


def _put_behind(head: str, rest: str, length: int, style: Style) -> list[str]:
    """Return words behind a head of some length, or below it where a terminal has no room beside it."""
    if not rest:
        return [head]
    if not style.terminal or length + 2 + len(rest) <= style.width:
        return [f"{head}  {rest}"]
    return [head, *sentence_lines(rest, style, first=" " * _INDENT, rest=" " * _INDENT)]


def _details(row: AuditRow, style: Style) -> Iterator[str]:
    """Yield what else is known of a file, for those who want everything."""
    indent = " " * _INDENT
    if row.format:
        weights = f"{row.format}, {spell_count(row.tensors, 'tensor')}, {size(row.bytes)} of {size(row.size)}"
        yield indent + weights
    if row.codes:
        yield from sentence_lines(f"findings: {describe_codes(row)}", style, first=indent, rest=indent)
    if row.message and row.verdict != "unreadable":
        yield from sentence_lines(printable(row.message), style, first=indent, rest=indent)
    if row.next:
        yield from pasted_lines("next", row.next, style, language="shell")


def describe_codes(row: AuditRow) -> str:
    """Return the codes of what was found, with how often each was.

    Examples
    --------
    >>> describe_codes(AuditRow("a.ckpt", "unknown", codes={"VC301": 1, "VC420": 2}))
    'VC301, VC420 (2 times)'
    """
    return ", ".join(f"{code} ({count} times)" if count > 1 else code for code, count in row.codes.items())


def render(report: Report[ReportedRow], style: Style) -> str:
    """Return the lines of all files and the table, of an audit whose rows are held in memory."""
    tally, rows = Tally(), [result.row for result in report.results]
    for row in rows:
        tally.add(row)
    outcome = AuditOutcome(lambda: iter(rows), tally, policy=Policy(), exit_code=report.exit_code, aside=report.aside)
    return "\n".join([*(row_line(row, style) for row in rows), summary(outcome, style)])


def summary(outcome: AuditOutcome, style: Style) -> str:
    """Return the table at the end."""
    tally, lines = outcome.tally, [""]
    files = "1 file" if tally.files == 1 else f"{tally.files:,} files"
    lines.append(f"{'interrupted after ' if outcome.interrupted else ''}{files}, {size(tally.bytes)}")
    group, in_group, rows = "", 0, tally.rows()
    for row in rows:
        group, in_group = (row.group, 1) if row.group != group else (group, in_group + 1)
        if in_group == 1:
            lines.append(style.heading(row.group))
        if in_group <= _MOST_ROWS or style.verbose:
            lines.append(spelled_out("\n".join(_table_row(row, style))))
        elif in_group == _MOST_ROWS + 1:
            lines.append(f"  ... and {sum(each.group == group for each in rows) - _MOST_ROWS} more (-v)")
    if outcome.aside:
        lines.append(style.heading(f"passed over: {len(outcome.aside)}"))
        shown = outcome.aside if style.verbose else outcome.aside[:_MOST_ROWS]
        lines += [spelled_out(f"  {printable(each.file)}: {each.what}") for each in shown]
        if len(shown) < len(outcome.aside):
            lines.append(f"  ... and {len(outcome.aside) - len(shown)} more (-v)")
    return "\n".join(lines)


def _table_row(row: TallyRow, style: Style) -> list[str]:
    name = f"{row.value:<26}"
    counts = f" {row.files:>8,} {size(row.bytes):>10}"
    head = f"  {style.tint(row.value, name)}{counts}"
    return explained(head, 2 + len(name) + len(counts), row.value, map(printable, row.examples), style)
