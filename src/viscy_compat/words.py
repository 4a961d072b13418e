"""The words of a command line, read without argparse where they are plain: importing that costs half of Python's start.

Commands state their arguments once, by the calls that argparse has. `PlainWords` takes the same calls, and reads what
can be meant in one way only: options in full, each value behind its option, the files in one row. For everything else
(help, a mistake, ``-oOUT``, ``--``) it answers None; argparse then reads the words, and says what is wrong with them.
"""

from __future__ import annotations

from types import SimpleNamespace

from viscy_compat.annotations import Any, Callable, Sequence
from viscy_compat.named import NamedTuple

NOT_IN_THE_HELP = "==SUPPRESS=="
"""What `argparse.SUPPRESS` is, the help of arguments that are not listed."""


class _StatedArgument(NamedTuple):
    """One argument: where its value goes, and what argparse would be told about it."""

    dest: str
    action: str
    nargs: str | None
    type: Callable[[str], Any] | None
    choices: Sequence[str] | None
    default: Any
    rivals: PlainWords | None


class _NotPlain(Exception):
    """Only argparse can read the words, or say what is wrong with them."""


class PlainWords:
    """Takes the calls that state arguments, as an ``argparse.ArgumentParser`` does, and reads plain words.

    Examples
    --------
    >>> words = PlainWords()
    >>> words.add_argument("files", nargs="+")
    >>> words.add_argument("--set", action="append", default=[])
    >>> words.read(["a.ckpt", "--set", "n=1"]), words.read(["a.ckpt", "--help"])
    (namespace(files=['a.ckpt'], set=['n=1']), None)
    """

    __slots__ = ("_defaults", "_options", "_positionals", "_rivals")

    def __init__(self, whole: PlainWords | None = None) -> None:
        self._options: dict[str, _StatedArgument] = whole._options if whole else {}
        self._positionals: list[_StatedArgument] = whole._positionals if whole else []
        self._defaults: dict[str, Any] = whole._defaults if whole else {}
        self._rivals = self if whole else None

    def add_argument_group(self, *_: str) -> PlainWords:
        """Groups of the help change nothing for what is read."""
        return self

    def add_mutually_exclusive_group(self) -> PlainWords:
        """Return what takes arguments of which one at most may be given."""
        return PlainWords(self)

    def set_defaults(self, **defaults: Any) -> None:
        """Give values to names, in place of the defaults of arguments that were stated before."""
        self._defaults.update(defaults)

    def add_argument(
        self,
        *names: str,
        dest: str = "",
        action: str = "store",
        nargs: str | None = None,
        type: Callable[[str], Any] | None = None,
        choices: Sequence[str] | None = None,
        default: Any = None,
        **_: Any,
    ) -> None:
        """State an argument; what only its help says is passed over."""
        long = next((name for name in names if name.startswith("--")), names[0])
        row = _StatedArgument(
            dest=dest or long.lstrip("-").replace("-", "_"),
            action=action,
            nargs=nargs,
            type=type,
            choices=choices,
            default=False if action == "store_true" else default,
            rivals=self._rivals,
        )
        if names[0].startswith("-"):
            self._options.update(dict.fromkeys(names, row))
        else:
            self._positionals.append(row)

    def read(self, words: Sequence[str]) -> SimpleNamespace | None:
        """Return the values of all arguments; None where argparse has to look at the words."""
        rows = (*self._positionals, *self._options.values())
        values = {row.dest: row.default for row in rows if row.action != "version"} | self._defaults
        try:
            files = self._read_options(words, values)
            self._take_files(files, values)
        except _NotPlain:
            return None
        return SimpleNamespace(**values)

    def _read_options(self, words: Sequence[str], values: dict[str, Any]) -> list[str]:
        """Set the values of options, and return the words that belong to none, which stand in one row."""
        files: list[str] = []
        rivals: dict[int, str] = {}
        place, end_of_files = 0, -1
        while place < len(words):
            word = words[place]
            place += 1
            if word[:1] != "-":
                # argparse takes one row of files; a second one behind an option it refuses
                if files and place - 1 != end_of_files:
                    raise _NotPlain
                files.append(word)
                end_of_files = place
                continue
            name, equals, text = word.partition("=")
            row = self._options.get(name)
            if row is None or row.nargs or (row.rivals and rivals.setdefault(id(row.rivals), row.dest) != row.dest):
                raise _NotPlain
            if row.action == "store_true" and not equals:
                values[row.dest] = True
                continue
            if not equals:
                text = words[place] if place < len(words) else "-"
                place += 1
                # a value that looks like an option: argparse knows negative numbers, and says what is
                # missing
                if text[:1] == "-":
                    raise _NotPlain
            value = _convert(row, text)
            values[row.dest] = [*(values[row.dest] or ()), value] if row.action == "append" else value
        return files

    def _take_files(self, files: list[str], values: dict[str, Any]) -> None:
        """Give the words that belong to no option to the positional arguments, from the left."""
        rest = files
        for row in self._positionals:
            if row.nargs in (None, "?") and rest:
                values[row.dest], rest = _convert(row, rest[0]), rest[1:]
            elif row.nargs == "?":
                continue
            elif row.nargs == "*" or (row.nargs == "+" and rest):
                values[row.dest] = [_convert(row, word) for word in rest] or (
                    [] if row.default is None else row.default
                )
                rest = []
            else:
                raise _NotPlain
        if rest:
            raise _NotPlain


def _convert(row: _StatedArgument, text: str) -> Any:
    """Return the value that a word stands for; whether more than a text is meant, argparse decides."""
    known = row.action in ("store", "append") and row.type in (None, int, float)
    if not known or (row.nargs not in (None, "?", "*", "+")) or (row.choices is not None and text not in row.choices):
        raise _NotPlain
    try:
        return text if row.type is None else row.type(text)
    except ValueError as error:
        raise _NotPlain from error
