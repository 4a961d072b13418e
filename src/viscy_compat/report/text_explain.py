"""What `explain` says, as a person reads it: a line for each code, or everything about those that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style, sentence_lines

if TYPE_CHECKING:
    from viscy_compat.findings import Explanation


def render(report: Report[Result], style: Style) -> str:
    """Return the entries."""
    is_list = all(result.shortened for result in report.results) and not style.verbose  # type: ignore[attr-defined]
    return ("\n" if is_list else "\n\n").join(_entry(result, style) for result in report.results)  # type: ignore[arg-type]


def _entry(result: Explanation, style: Style) -> str:
    code = result.entry
    if result.shortened and not style.verbose:
        return "\n".join(sentence_lines(f"{code.id}  {code.severity:<8}{code.title}", style, rest=" " * 15))
    head = f"{code.id} ({code.severity}): "
    first, *rest = sentence_lines(head + code.title, style)
    flags = {"predictions may differ (--strict)": code.predictions, "a remap cures it": code.remap_cures}
    paragraphs = [
        [f"{style.heading(code.id)} ({style.tint(code.severity)}): {first[len(head) :]}", *rest],
        sentence_lines(code.meaning, style, rest=""),
        sentence_lines(f"What to do: {code.remedy}", style, rest=""),
        [f"Also: {', '.join(words)}."] if (words := [name for name, holds in flags.items() if holds]) else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)
