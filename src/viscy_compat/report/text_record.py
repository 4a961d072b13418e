"""What `record` says, as a person reads it: a line for each reference."""

from __future__ import annotations

from collections.abc import Iterator

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.terminal import MARGIN, Style, finding_lines, labelled_lines, sentence_lines


def render(report: Report[Result], style: Style) -> str:
    """Return the headline, and a line for each reference."""
    visible = [row for row in report.results if not style.quiet or row.to_dict()["changed"]]
    headline = sentence_lines(printable(report.headline), style, rest="")
    return "\n".join([*headline, *(line for row in visible for line in _lines(row, style))])


def _lines(result: Result, style: Style) -> Iterator[str]:
    facts = result.to_dict()
    state = style.tint("changed" if facts["changed"] else "as before")
    title = f"{facts['class']} {facts['generation']}"
    yield f"{title:<30}  {facts['configurations']:>3} cases  {facts['bytes']:>7} bytes  {state}"
    if style.verbose:
        yield from labelled_lines("file", printable(facts["file"]), style)
    for release in facts["left_out"]:
        note = "was never released as a wheel: what was recorded of it is kept (--repo records it)"
        yield from sentence_lines(f"{printable(release)} {note}", style, first=MARGIN)
    for finding in result.findings:
        yield from finding_lines(finding, style)
