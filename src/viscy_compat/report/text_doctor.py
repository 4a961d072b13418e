"""What `doctor` says, as a person reads it: the surroundings, then a line for each command."""

from __future__ import annotations

from collections.abc import Iterable

from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style, finding_lines, labelled_lines


def render(report: Report[Result], style: Style) -> str:
    """Return the facts, and what stops which command; only that where quiet."""
    surroundings, *rows = report.results
    facts = surroundings.to_dict()["surroundings"]
    lines = [] if style.quiet else [*(f"{name:<13} {text}" for name, text in facts.items()), ""]
    lines += [line for finding in surroundings.findings for line in finding_lines(finding, style)]
    ready = [row.title for row in rows if row.to_dict()["ready"]]
    if ready and not style.quiet:
        lines += labelled_lines("ready", ", ".join(ready), style, margin="")
    for (reasons, fix), names in _alike(rows).items():
        lines += labelled_lines("stopped", f"{', '.join(names)}: {'; '.join(reasons)}", style, margin="")
        lines += labelled_lines("install", fix, style)
    # several commands may have the same finding: each is told once
    known = {finding: None for row in rows for finding in row.findings}
    return "\n".join([*lines, *(line for finding in known for line in finding_lines(finding, style))])


def _alike(rows: Iterable[Result]) -> dict[tuple[tuple[str, ...], str], list[str]]:
    """Return what is stopped by its reasons: several commands need the same."""
    alike: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for facts in (row.to_dict() for row in rows):
        if not facts["ready"]:
            alike.setdefault((tuple(facts["reasons"]), facts["fix"]), []).append(facts["command"])
    return alike
