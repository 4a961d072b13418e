"""Scripts with which shells complete the command line, made of its parsers by shtab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from viscy_compat.architectures import class_names
from viscy_compat.errors import lacking
from viscy_compat.exhibits import Exhibits, Paste
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser

SHELLS = ("bash", "zsh", "fish")


class CompletionScript(NamedTuple):
    """The script for one shell, as the result of ``completion``."""

    shell: str
    script: str
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The shell."""
        return self.shell

    def exhibits(self) -> Exhibits:
        """Return the script as something to paste."""
        sentence = f"A script of {self.script.count(chr(10))} lines that completes the command line in {self.shell}."
        return Exhibits(sentence=sentence, pastes=(Paste(f"script for {self.shell}", self.script.rstrip(chr(10))),))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""
        return {"shell": self.shell, "script": self.script, "findings": []}


def script_for(shell: str, parser: ArgumentParser) -> str:
    """Return the script that completes what a parser takes.

    Parameters
    ----------
    shell : str
        One of `SHELLS`.
    parser : ArgumentParser
        That of the program, with one below it for each command. Its arguments are changed: it is for nothing else.

    Raises
    ------
    MissingExtra
        shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise lacking("completion", error.name, "completion") from error
    words = {"CLASS": class_names(), "CODE": tuple(CATALOGUE)}
    places = {"FOLDER": shtab.DIRECTORY}
    for action in _actions(parser):
        name = action.metavar if isinstance(action.metavar, str) else ""
        if name in words:
            action.choices = words[name]
        elif name.partition(".")[0] in ("FILE", "OUT", "PATH", "PLAN", "SHIM", "IO", *places):
            action.complete = places.get(name, shtab.FILE)  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    """Yield the arguments of a parser and of those below it."""
    for action in parser._actions:
        yield action
        for child in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from _actions(child)
