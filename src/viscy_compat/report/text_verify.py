"""What `verify` says, as a person reads it: a line for each class, then what differs, then the conditions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import MARGIN, Style, finding_lines, sentence_lines

_VERDICTS = ("equal", "differs", "undecided")
"""By exit code."""


def render(report: Report[Result], style: Style) -> str:
    """Return the headline, the classes, and under what conditions they were compared."""
    rows = [result.to_dict() for result in report.results]
    visible = [result for result in report.results if result.exit_code or not style.quiet]
    width = max((len(row["class"]) for row in rows), default=0)
    blocks = [
        [printable(report.headline)],
        [line for result in visible for line in _class(result, width, style)],
        [*_conditions(rows[0])] if rows and not style.quiet else [],
    ]
    sentences = []
    for lines in blocks:
        lines_out: list[str] = []
        for text in lines:
            # what is one sentence is broken; lines of findings and colours stay as they are
            is_set = "\x1b" in text or text.startswith(MARGIN)
            lines_out += [text] if is_set else sentence_lines(text, style)
        sentences.append("\n".join(lines_out))
    return "\n\n".join(block for block in (*sentences, _last_line(report, rows, style)) if block)


def _class(result: Result, width: int, style: Style) -> Iterator[str]:
    row = result.to_dict()
    verdict = style.tint(_VERDICTS[result.exit_code])
    differences = f", {spell_count(len(row['accepted']), 'wanted difference')}" if row["accepted"] else ""
    yield f"{row['class']:<{width}}  {row['generation']:<5}  {row['configurations']:>3} cases  {verdict}{differences}"
    for finding in result.findings:
        yield from finding_lines(finding, style)
    if style.verbose:
        for text in row["accepted"]:
            yield from sentence_lines(f"wanted: {text}", style, first=MARGIN)
        yield from (f"{MARGIN}{blob}  {printable(path)}" for path, blob in row["source"]["blobs"].items())


def _conditions(row: dict[str, Any]) -> Iterator[str]:
    sides = ("old", "candidate") if len(row["conditions"]) > 1 else ("candidate",)
    lines = [_versions(conditions) for conditions in row["conditions"]]
    labels = ["conditions"] if len(set(lines)) == 1 else [f"conditions, {side}" for side in sides]
    yield from (f"{label}: {line}" for label, line in zip(labels, dict.fromkeys(lines), strict=True))
    isolation = [", ".join(line for line in lines if " limit " not in line) for lines in row["isolation"]]
    yield from (f"isolation: {line}" for line in dict.fromkeys(isolation))


def _versions(side: dict[str, Any]) -> str:
    stack = f"torch {side['torch']}, timm {side['timm']}, MONAI {side['monai']}, Python {side['python']}"
    return f"{stack}, {side['cpu']}, {spell_count(side['threads'], 'thread')}"


def _last_line(report: Report[Result], rows: list[dict[str, Any]], style: Style) -> str:
    cases, classes = spell_count(sum(row["configurations"] for row in rows), "case"), spell_count(len(rows), "class")
    differ = sum(result.exit_code == 1 for result in report.results)
    open_count = sum(result.exit_code == 2 for result in report.results)
    by_record = any(row["source"]["kind"] == "recorded" for row in rows)
    if differ:
        open_too = f", {open_count} undecided" if open_count else ""
        words = f"{differ} of {classes} {'differs' if differ == 1 else 'differ'}{open_too} ({cases})"
        return style.verdict("differs", words)
    if open_count:
        return style.verdict("undecided", f"{open_count} of {classes} undecided ({cases})")
    if report.interrupted:
        return style.verdict("undecided", f"undecided: {classes} compared before the interrupt")
    if report.exit_code:
        words = f"undecided: {cases} agree with what was recorded, and nobody asked for that"
        return style.verdict("undecided", words)
    how = "within the tolerance of the references" if by_record else "byte for byte"
    return style.verdict("equal", f"{classes}, {cases}: equal, {how}")
