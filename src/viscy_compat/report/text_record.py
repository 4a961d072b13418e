"""What `record` says, as a person reads it: a line for each reference."""

from __future__ import annotations

from collections.abc import Iterator

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report import Style


def render(report: Report, style: Style) -> str:
    """Return the headline, and a line for each reference."""
    shown = [row for row in report.results if not style.quiet or row.to_dict()["changed"]]
    return "\n".join([printable(report.headline), *(line for row in shown for line in _line(row, style))])


def _line(result: Result, style: Style) -> Iterator[str]:
    told = result.to_dict()
    state = style.paint("changed", 33) if told["changed"] else style.paint("as before", 32)
    title = f"{told['class']} {told['generation']}"
    yield f"{title:<30}  {told['configurations']:>3} cases  {told['bytes']:>7} bytes  {state}"
    for release in told["left_out"]:
        yield f"  {printable(release)} was never released as a wheel: what was recorded of it is kept (--repo records it)"
    yield from (f"  {finding.severity} {finding.code}: {printable(finding.message)}" for finding in result.findings)
