"""The parser of a command, for what `viscy_compat.words` does not read: its help, and complaints of one line."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, Action, ArgumentParser, RawDescriptionHelpFormatter

from viscy_compat.annotations import Any, NoReturn
from viscy_compat.layout import printable, quote_path
from viscy_compat.report import columns_of_the_terminal, say
from viscy_compat.words import NOT_IN_THE_HELP


class _Formatter(RawDescriptionHelpFormatter):
    """argparse makes a formatter for every argument; told the width, it need not import `shutil` to measure it."""

    def __init__(self, prog: str) -> None:
        # a terminal breaks a line that is as long as it is wide
        super().__init__(prog, width=min(columns_of_the_terminal() - 1, 100))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Lay the lines of a description out anew where one is too long; as they are written else."""
        if all(len(line) <= width for line in text.splitlines()):
            return text
        # lazy: only help on a narrow terminal needs it; a flag or a path is not broken at its hyphens
        import textwrap

        paragraphs = text.split("\n\n")
        return "\n\n".join(textwrap.fill(part, width, break_on_hyphens=False) for part in paragraphs)


class CommandParser(ArgumentParser):
    """A parser whose complaints are one line, like those of everything else here."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, formatter_class=_Formatter)
        self._words: tuple[str, ...] = ()

    def add_argument(self, *names: Any, **statement: Any) -> Action:
        """State an argument; argparse knows its own mark of one that is not listed by identity, not by what it says."""
        if statement.get("help") == NOT_IN_THE_HELP:
            statement["help"] = SUPPRESS
        return super().add_argument(*names, **statement)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keep the words, for what `error` says of them."""
        self._words = tuple(args or ())
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: object = None) -> None:
        if message:
            say(message.removesuffix("\n"), to="stderr" if file is sys.stderr else "stdout")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and where the help is; exit code 2."""
        # a file that begins with a dash, as `*.ckpt` may name one: argparse would take the word for an option
        files = [word for word in self._words if word.startswith("-") and os.path.lexists(word)]
        files = [word for word in files if word not in self._option_string_actions]
        advice = f"; a file that begins with a dash is written {quote_path(files[0])}" if files else ""
        self.exit(2, f"viscy-compat: {printable(message)}{advice}; see '{self.prog} --help'\n")
