"""The report as one JSON object a line, one for each result."""

from __future__ import annotations

from json import dumps

from viscy_compat.annotations import Iterator
from viscy_compat.findings import Report, Result
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style, separated


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield a line for each result."""
    lines = (spelled_out(dumps(result.to_dict(), ensure_ascii=True), r"\u0023") for result in report.results)
    return separated("\n", lines)
