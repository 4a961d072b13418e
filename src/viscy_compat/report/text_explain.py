"""What `explain` says, as a person reads it: a line for each code, or everything about those that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viscy_compat.findings import Report
from viscy_compat.report import Style

if TYPE_CHECKING:
    from viscy_compat.findings import Explanation


def render(report: Report, style: Style) -> str:
    """Return the entries."""
    gap = "\n" if all(result.shortened for result in report.results) else "\n\n"  # type: ignore[attr-defined]
    return gap.join(_said(result, style) for result in report.results)  # type: ignore[arg-type]


def _said(result: Explanation, style: Style) -> str:
    entry = result.entry
    if result.shortened and not style.verbose:
        return f"{entry.id}  {entry.severity:<8}{entry.title}"
    head = f"{style.paint(entry.id, 1)} ({entry.severity}): {entry.title}"
    return f"{head}\n\n{entry.meaning}\n\nWhat to do: {entry.remedy}"
