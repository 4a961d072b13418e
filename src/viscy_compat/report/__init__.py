"""Renderers: a report becomes text, one file for each format.

`emit` is what commands call: it prints the report on stdout in the format that was asked for, and writes the files
that ``--output`` names. In the format ``github`` it also adds to the job summary, where GitHub names a file for it.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib import import_module
from typing import Literal

from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.findings import Report
from viscy_compat.named import NamedTuple

FORMATS = ("text", "json", "jsonl", "github", "junit", "sarif", "markdown", "html")


class Style(NamedTuple):
    """How a text report is written: with colours, shortened or in full, how wide, and whether a person looks on."""

    color: bool = False
    verbose: bool = False
    quiet: bool = False
    width: int = 100
    terminal: bool = False

    def paint(self, text: str, *codes: int) -> str:
        """Wrap text in ANSI codes where colours are on.

        Examples
        --------
        >>> Style().paint("ok", 32), Style(color=True).paint("ok", 32)
        ('ok', '\\x1b[32mok\\x1b[0m')
        """
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m" if self.color else text


def render(report: Report, format: str, style: Style = Style()) -> str:  # noqa: B008 (an immutable default)
    """Render a report, without a final newline.

    Raises
    ------
    UsageError
        Where there is no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no report format {format!r}", fix=f"formats: {', '.join(FORMATS)}")
    text: str = import_module(f"viscy_compat.report.{format}").render(report, style)
    return text


def emit(report: Report, arguments: Namespace) -> int:
    """Print a report, write the files that were asked for, and return the report's exit code.

    Raises
    ------
    UsageError, OutputRefused
        Where ``--output`` names no format, or a file that cannot be written.
    """
    outputs_of(arguments)
    text = render(report, arguments.format, style_for(arguments))
    if text:
        print(text)
    return write_outputs(report, arguments)


def write_outputs(report: Report, arguments: Namespace) -> int:
    """Write the files that were asked for, and return the report's exit code; for a report that was printed already."""
    targets = outputs_of(arguments)
    for format, path in targets:
        _write(path, render(report, format, Style(verbose=True)))
    if "github" in (arguments.format, *(format for format, _ in targets)):
        _add_job_summary(report)
    return report.exit_code


def outputs_of(arguments: Namespace) -> list[tuple[str, str]]:
    """Return the format and path of each ``--output``; raises `UsageError` before any work is done in vain."""
    return [_target(output) for output in arguments.output]


def style_for(arguments: Namespace) -> Style:
    """Return the style that the common flags, the environment and the terminal ask for."""
    wanted = arguments.color == "always" or (arguments.color == "auto" and _colors_by_default())
    width = min(_terminal_width(), 120)
    return Style(wanted, arguments.verbose, arguments.quiet, width, sys.stdout.isatty())


def _colors_by_default() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 100


def _target(output: str) -> tuple[str, str]:
    format, colon, path = output.partition(":")
    if format not in FORMATS or not colon or not path:
        raise UsageError(
            f"--output {output!r} is not FORMAT:PATH",
            fix=f"for example --output json:report.json ({', '.join(FORMATS)})",
        )
    return format, path


def _add_job_summary(report: Report) -> None:
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if path:
        from viscy_compat.report.github import summary

        _write(path, summary(report), mode="a")


def _write(path: str, text: str, *, mode: Literal["w", "a"] = "w") -> None:
    try:
        with open(path, mode, encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise OutputRefused(
            error.strerror or str(error), where=path, fix="choose another place for --output"
        ) from error
