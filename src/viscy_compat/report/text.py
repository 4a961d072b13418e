"""The report as a person reads it in a terminal: a file for each command that has something of its own to show."""

from __future__ import annotations

from viscy_compat.annotations import Iterator, import_module
from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style, separated


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the report as text, paragraph by paragraph."""
    for piece in separated("\n\n", _paragraphs(report, style)):
        # what knows the commands of runners is imported where there may be one: most reports hold neither sign
        if "::" in piece or "##" in piece:
            from viscy_compat.report.runners import without_commands

            yield without_commands(piece)
        else:
            yield piece


def _paragraphs(report: Report[Result], style: Style) -> Iterator[str]:
    if report.interrupted:
        yield "interrupted, and this is what was known by then:"
    module = import_module(f"viscy_compat.report.text_{report.command}")
    if report.command == "check":
        yield from module.paragraphs(report, style)
    elif text := module.render(report, style):
        yield text
    if not style.verbose or report.command in ("explain", "completion"):
        return
    from viscy_compat.report.remainder import remainder_lines

    # who wants everything gets what the JSON of each result holds and the text has not said. Of thousands of files, what
    # is said of one says nothing about the others, and each would be looked for in all of it
    whole = "" if hasattr(module, "paragraph") else module.render(report, style)
    for result in report.results:
        # a sentence may be broken anywhere, and still says what it says
        words = " ".join((whole or module.paragraph(result, style)).split())
        if lines := list(remainder_lines(result.to_dict(), words, style)):
            yield "\n".join([f"{style.heading(result.title)}", "  by the names in the JSON:", *lines])
