"""The report as one JSON object, the contract of other programs."""

from __future__ import annotations

from json import dumps

from viscy_compat.findings import Report, Result
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style


def render(report: Report[Result], style: Style) -> str:
    """Return the object of the contract, indented."""
    return spelled_out(dumps(report.to_dict(), indent=2, ensure_ascii=True), r"\u0023")
