"""The report as a person reads it in a terminal: a file for each command that has something of its own to show."""

from __future__ import annotations

from importlib import import_module

from viscy_compat.findings import Report, Result
from viscy_compat.report.terminal import Style


def render(report: Report[Result], style: Style) -> str:
    """Return the report as text."""
    text: str = import_module(f"viscy_compat.report.text_{report.command}").render(report, style)
    if "::" in text or "##" in text:
        from viscy_compat.report.runners import without_commands

        text = without_commands(text)
    if not report.interrupted:
        return text
    return "\n\n".join(["interrupted, and this is what was known by then:", *([text] if text else [])])
