"""Renderers: a report becomes text, one file for each format.

`emit` and `emit_each` are what commands call: the report goes to stdout in the format that was asked for, and to the
files that ``--output`` names. In the format ``github`` it is also added to the job summary, where GitHub names a file.
A reader of stdout that leaves early (``| head -1``) changes nothing else: not the files, not the exit code.
"""

from __future__ import annotations

import os
import sys

from viscy_compat.annotations import (
    IO,
    TYPE_CHECKING,
    Callable,
    Iterable,
    Iterator,
    Literal,
    Sequence,
    import_module,
    suppress,
)
from viscy_compat.errors import Interrupted, OutputRefused, UsageError
from viscy_compat.findings import Aside, Report, Result, selection_of
from viscy_compat.regular_files import open_fifo, refuse_collisions
from viscy_compat.report.terminal import Style

if TYPE_CHECKING:
    from argparse import Namespace

AS_THEY_COME = ("check", "inspect", "remap_ledger", "zoo", "explain")
"""Commands whose results are printed as they come in ``jsonl``."""

_CHECKPOINTS = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
"""Endings of files that stay, were they named by mistake: a folder that is read may hold them."""

FORMATS = ("text", "json", "jsonl", "github", "junit", "sarif", "markdown", "html")


def render(report: Report[Result], format: str, style: Style = Style()) -> str:  # noqa: B008 (an immutable default)
    """Render a report, without a final newline; raises as `pieces` does."""
    return "".join(pieces(report, format, style))


def pieces(report: Report[Result], format: str, style: Style) -> Iterator[str]:
    """Yield a rendered report piece by piece, so that a long one is never held whole, without a final newline.

    Raises
    ------
    UsageError
        Where there is no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no report format {format!r}", fix=f"formats: {', '.join(FORMATS)}")
    found: Iterator[str] = import_module(f"viscy_compat.report.{format}").pieces(report, style)
    return found


def emit(report: Report[Result], arguments: Namespace) -> int:
    """Print a report, write the files that were asked for, and return the report's exit code.

    Raises
    ------
    UsageError, OutputRefused
        Where ``--output`` names no format, or a file that cannot be written.
    """
    outputs_of(arguments)
    report = chosen_findings(report, arguments)
    has_text = False
    for piece in pieces(report, arguments.format, style_for(arguments)):
        say(piece, end="")
        has_text |= bool(piece)
    # a quiet report of what went well is empty: then not even a line is printed
    if has_text:
        say("")
    return write_outputs(report, arguments)


def chosen_findings(report: Report[Result], arguments: Namespace) -> Report[Result]:
    """Return the report with the findings that ``--select`` and ``--ignore`` ask for.

    Raises
    ------
    UsageError
        Where they name no code.
    """
    # commands without findings have neither flag
    select, ignore = getattr(arguments, "select", ()), getattr(arguments, "ignore", ())
    if not select and not ignore:
        return report
    from viscy_compat.report.selection import in_selection

    return in_selection(report, selection_of(select, ignore))


def emit_each(command: str, results: Iterable[Result], arguments: Namespace, *, aside: Sequence[Aside] = ()) -> int:
    """Make a report of results that come one after the other; ``jsonl`` prints each as it comes.

    What is passed over meanwhile is added to `aside` by whoever makes the results.

    Raises
    ------
    Interrupted
        With what was known by then; in ``jsonl`` that was printed already.
    """
    so_far: list[Result] = []
    as_they_come, code = arguments.format == "jsonl", 0
    # what is printed already is kept for further documents alone
    is_kept = not as_they_come or bool(arguments.output)
    try:
        for result in results:
            # what is not kept still counts
            code = max(code, result.exit_code)
            if is_kept:
                so_far.append(result)
            if as_they_come:
                say(render(chosen_findings(Report(command, [result]), arguments), "jsonl", style_for(arguments)))
    except KeyboardInterrupt as stop:
        raise Interrupted(Report(command, so_far, interrupted=True, aside=aside)) from stop
    report = Report(command, so_far, exit_code=code, aside=aside)
    return write_outputs(chosen_findings(report, arguments), arguments) if as_they_come else emit(report, arguments)


def emit_interrupted(report: Report[Result], arguments: Namespace) -> None:
    """Print what was known when a run was interrupted, but for lines that were printed as they came."""
    if arguments.format == "jsonl" and report.command in AS_THEY_COME:
        write_outputs(chosen_findings(report, arguments), arguments)
    else:
        emit(report, arguments)


def say(text: str, *, to: Literal["stdout", "stderr"] = "stdout", end: str = "\n") -> None:
    """Print a text and flush; where nobody reads any more, go on in silence.

    Raises
    ------
    OutputRefused
        The system does not take it: a full disc.
    """
    stream = getattr(sys, to)
    if to == "stderr":
        from viscy_compat.report.runners import without_commands

        text = without_commands(text)
    try:
        print(text, file=stream, end=end, flush=True)
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise OutputRefused(error.strerror or str(error), where=to, fix="write the report elsewhere") from error


def _silence(stream: IO[str]) -> None:
    """Send what else is printed nowhere; what Python still holds would fail again when it is flushed at exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def write_outputs(report: Report[Result], arguments: Namespace) -> int:
    """Write the files that were asked for, and return the report's exit code; for a report that was printed already."""
    targets = outputs_of(arguments)
    for format, path in targets:
        _write_report(path, pieces(report, format, Style(verbose=True)))
    summary_file = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if summary_file and "github" in (arguments.format, *(format for format, _ in targets)):
        from viscy_compat.report.github import summary

        # added to: a step may run several commands
        _write_report(summary_file, [summary(report)], mode="a")
    return report.exit_code


def outputs_of(arguments: Namespace) -> list[tuple[str, str]]:
    """Return the format and path of each ``--output``; raises `UsageError` before any work is done in vain."""
    formats = getattr(arguments, "formats", FORMATS)
    targets = [_target(output, formats) for output in arguments.output]
    for _, path in targets:
        _refuse_early(path)
    if targets:
        given = [word for value in vars(arguments).values() for word in (value if isinstance(value, list) else [value])]
        # whatever the command line names besides is read, or written by somebody else
        refuse_collisions([path for _, path in targets], [word for word in given if isinstance(word, str)])
    return targets


def style_for(arguments: Namespace) -> Style:
    """Return the style that the common flags, the environment and the terminal ask for."""
    # NO_COLOR goes before FORCE_COLOR: who sets both cannot read colours; empty, either counts as not set
    by_default = not os.environ.get("NO_COLOR") and (bool(os.environ.get("FORCE_COLOR")) or _on_a_terminal())
    colors = arguments.color == "always" or (arguments.color == "auto" and by_default)
    # a longer line is hard to read, however wide the screen is
    width = min(columns_of_the_terminal(), 120)
    return Style(colors, arguments.verbose, quiet=arguments.quiet, width=width, terminal=_on_a_terminal())


def columns_of_the_terminal() -> int:
    """Return how wide the terminal is that stdout goes to; 100 where it goes to none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError, AttributeError):
        # a pipe, a stdout that was closed, or one of a notebook
        return 100


def _on_a_terminal() -> bool:
    """Whether a person looks on; Python has no stdout where it was closed before the start (``>&-``)."""
    return sys.stdout is not None and sys.stdout.isatty()


def _target(output: str, formats: Sequence[str]) -> tuple[str, str]:
    format, colon, path = output.partition(":")
    if format not in formats or not colon or not path:
        raise UsageError(
            f"--output {output!r} is not FORMAT:PATH",
            fix=f"for example --output json:report.json ({', '.join(formats)})",
        )
    return format, path


def _refuse_early(path: str) -> None:
    """Refuse a place that no file can be written to before the work is done, not after it."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise OutputRefused("this is a folder", where=path, fix="give --output the name of a file")
    if not os.path.isdir(folder):
        raise OutputRefused("there is no such folder", where=folder, fix="make it, or choose another --output")
    if path.lower().endswith(_CHECKPOINTS) and os.path.isfile(path):
        raise OutputRefused(
            "by its name this is a checkpoint, which no report replaces", where=path, fix="choose another --output"
        )


def _write_report(path: str, texts: Iterable[str], *, mode: Literal["w", "a"] = "w") -> None:
    """Write a report: whole or not at all, but for a summary, which it is added to."""

    def write(place: str) -> None:
        # names in a file may be lone surrogates, which have no UTF-8
        with open(place, mode, encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(texts)
            file.write("\n")

    write_whole(path, write, replaces=mode == "w")


def write_whole(path: str, write: Callable[[str], None], *, replaces: bool = True) -> None:
    """Have a file written: whole or not at all, but for what cannot be replaced (a link, a device, a pipe).

    Parameters
    ----------
    path : str
        The file.
    write : Callable[[str], None]
        Is given the place to write to, which then takes the place of the file.
    replaces : bool, optional
        False where the file is added to.

    Raises
    ------
    OutputRefused
        Where it cannot be written.
    """
    # to replace a link or a device would put a plain file in its place
    replaceable = replaces and not os.path.islink(path) and (os.path.isfile(path) or not os.path.exists(path))
    place = f"{path}.{os.getpid()}.viscy-compat-tmp" if replaceable else path
    try:
        # it lets `write` wait for nobody
        fifo = open_fifo(path)
        try:
            write(place)
            if replaceable:
                os.replace(place, path)
        finally:
            if fifo is not None:
                os.close(fifo)
            if replaceable:
                with suppress(FileNotFoundError):
                    os.unlink(place)
    except OSError as error:
        raise OutputRefused(
            error.strerror or str(error), where=path, fix="choose another place for --output"
        ) from error
