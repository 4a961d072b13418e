"""The report as one JSON object a line, one for each result."""

from __future__ import annotations

from json import dumps

from viscy_compat.findings import Report, Result
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style


def render(report: Report[Result], style: Style) -> str:
    """Return a line for each result."""
    lines = "\n".join(dumps(result.to_dict(), ensure_ascii=True) for result in report.results)
    return spelled_out(lines, r"\u0023")
