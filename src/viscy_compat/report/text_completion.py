"""What `completion` prints: the script and nothing else, for a shell reads it."""

from __future__ import annotations

from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style


def render(report: Report[Result], style: Style) -> str:
    """Return the script."""
    return "\n".join(result.to_dict()["script"].rstrip("\n") for result in report.results)
