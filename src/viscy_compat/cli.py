"""Arguments to one command to one exit code. Only the parser of the command that was asked for is built."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper

from viscy_compat.annotations import Any, import_module
from viscy_compat.commands import COMMANDS, declare_arguments
from viscy_compat.errors import CompatError, Interrupted, UsageError
from viscy_compat.interrupts import Interrupts
from viscy_compat.layout import printable
from viscy_compat.report import emit_interrupted, outputs_of, say
from viscy_compat.version import __version__
from viscy_compat.words import PlainWords

_GARBAGE = 1_000_000
"""Objects that are made before Python looks for circles among them: the largest file that the limits allow has fewer, so that
a command about one file ends before; of thousands of files each is gone with its own."""

_NAMING = (
    *("--allow", "--as", "--candidate-python", "--class-path", "--ledger", "--legacy-python", "--on", "--references"),
    *("--repo", "--rev", "--save-evidence", "--waivers", "--wheel"),
)
"""Options that do without a value what nobody means who gives an empty one; others see to that themselves."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 holds, 1 findings, 2 could not decide, 128 + N ended by signal N.

    Parameters
    ----------
    argv : list[str], optional
        The words after the program name; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else argv
    # what the encoding of a terminal or pipe does not have is escaped: a report is never lost to one letter
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not words or words[0] in ("-h", "--help"):
        say(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        say(f"viscy-compat {__version__}")
        return 0
    try:
        return _run(words[0], words[1:])
    finally:
        if argv is None:
            # the process ends now, and would look through all that it has loaded for circles first: an eighth of a short command
            gc.freeze()


def _run(command: str, words: list[str]) -> int:
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        fix = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(COMMANDS)}"
        return _complain(CompatError(f"there is no command {printable(command)!r}", fix=fix))
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE, *before[1:])
    interrupts = Interrupts()
    try:
        with interrupts:
            return _ended(command, words, interrupts)
    except CompatError as error:
        return _complain(error)
    except FileNotFoundError:
        # nothing that is relative has a place then, and what asks where it is comes from many commands
        if not _folder_is_gone():
            raise
        return _complain(
            CompatError("the current folder is gone: it was deleted or moved", fix="cd to one that exists")
        )
    # between the signal being taken in hand and the command, or behind it
    except KeyboardInterrupt:
        say("viscy-compat: interrupted", to="stderr")
        return interrupts.exit_code
    finally:
        gc.set_threshold(*before)


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _ended(command: str, words: list[str], interrupts: Interrupts) -> int:
    """Run a command to its end, or until it is interrupted: then print what is known, and give the signal's code."""
    arguments = None
    try:
        _refuse_empty_names(words)
        if any("://" in word for word in words):
            from viscy_compat.checkpoint.locations import know_plain

            know_plain(words)
        module = import_module(f"viscy_compat.commands.{command}")
        arguments = _read_words(command, module, words)
        outputs_of(arguments)
        if getattr(arguments, "select", ()) or getattr(arguments, "ignore", ()):
            from viscy_compat.findings import selection_of

            selection_of(arguments.select, arguments.ignore)  # a code that there is not is refused before the work
        exit_code: int = module.run(arguments)
        return exit_code
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted) and arguments is not None:
            emit_interrupted(stop.report, arguments)
        say("viscy-compat: interrupted", to="stderr")
        return interrupts.exit_code


def _refuse_empty_names(words: list[str]) -> None:
    for place, word in enumerate(words, 1):
        name, equals, text = word.partition("=")
        if name in _NAMING and "" in ([text] if equals else words[place : place + 1]):
            raise UsageError(f"{name} names nothing", fix="is a variable of the shell unset?")


def _read_words(command: str, module: Any, words: list[str]) -> Any:
    """Return the values of a command's arguments; argparse is imported where help or a complaint is due."""
    plain = PlainWords()
    declare_arguments(plain, module)
    arguments = plain.read(words)
    if arguments is not None:
        return arguments
    from viscy_compat.parser import CommandParser

    parser = CommandParser(prog=f"viscy-compat {command}", description=module.__doc__)
    declare_arguments(parser, module)
    return parser.parse_args(words)


def _overview() -> str:
    rows = "\n".join(f"  {name:<11}{summary}" for name, summary in COMMANDS.items())
    return (
        "usage: viscy-compat COMMAND ...\n\n"
        "Does an old VisCy checkpoint load into the migrated models,\n"
        "how to make it load, and the proof.\n\n"
        f"commands:\n{rows}\n\n"
        "'viscy-compat COMMAND --help' tells more.\n"
        "Exit codes: 0 holds, 1 findings, 2 could not decide, 130 interrupted."
    )


def _complain(error: CompatError) -> int:
    code = f" [{error.code}]" if error.code else ""
    say(f"viscy-compat: {printable(str(error))}{code}", to="stderr")
    return error.exit_code
