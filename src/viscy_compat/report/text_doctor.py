"""What `doctor` says, as a person reads it: the surroundings, then a line for each command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style, finding_lines, labelled_lines


def render(report: Report[Result], style: Style) -> str:
    """Return the facts, and what stops which command; only that where quiet."""
    surroundings, *rows = report.results
    lines = [] if style.quiet else list(_fact_lines(surroundings.to_dict()["surroundings"], style))
    lines += [line for finding in surroundings.findings for line in finding_lines(finding, style)]
    ready = [row.title for row in rows if row.to_dict()["ready"]]
    if ready and not style.quiet:
        lines += labelled_lines("ready", ", ".join(ready), style, margin="")
    return "\n".join([*lines, *(line for row in rows for line in _lines(row, style))])


def _fact_lines(facts: dict[str, str], style: Style) -> Iterator[str]:
    for name, text in facts.items():
        yield f"{name:<13} {text}"
    yield ""


def _lines(result: Result, style: Style) -> Iterator[str]:
    facts: dict[str, Any] = result.to_dict()
    if facts["ready"]:
        return
    yield from labelled_lines("stopped", f"{facts['command']}: {', '.join(facts['reasons'])}", style, margin="")
    for finding in result.findings:
        yield from finding_lines(finding, style)
    if not result.findings:
        yield from labelled_lines("install", facts["fix"], style)
