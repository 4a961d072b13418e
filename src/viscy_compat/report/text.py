"""The report as a person reads it in a terminal: a file for each command that has something of its own to show."""

from __future__ import annotations

from viscy_compat.annotations import Iterator, import_module
from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style


def render(report: Report[Result], style: Style) -> str:
    """Return the report as text."""
    text: str = import_module(f"viscy_compat.report.text_{report.command}").render(report, style)
    if style.verbose and report.command not in ("explain", "completion"):
        text = "\n\n".join([text, *_remainders(report, text, style)])
    if "::" in text or "##" in text:
        from viscy_compat.report.runners import without_commands

        text = without_commands(text)
    if not report.interrupted:
        return text
    return "\n\n".join(["interrupted, and this is what was known by then:", *([text] if text else [])])


def _remainders(report: Report[Result], text: str, style: Style) -> Iterator[str]:
    """Yield, for each result, what its JSON holds and the text has not said: who wants everything gets it."""
    from viscy_compat.report.remainder import remainder_lines

    # a sentence may be broken anywhere, and still says what it says
    whole = " ".join(text.split())
    for result in report.results:
        if lines := list(remainder_lines(result.to_dict(), whole, style)):
            yield "\n".join([f"{style.heading(result.title)}", "  by the names in the JSON:", *lines])
