"""Pages of documentation as a reader follows them: scripts are saved, commands are typed in one shell."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SCRIPT = re.compile(r"# (\w+\.py)\n")


class Typed(NamedTuple):
    """A command as a page shows it, with the output below it."""

    command: str
    output: str


def scripts(page: str) -> dict[str, str]:
    """The Python blocks whose first line is the name of a file."""
    blocks = [code for kind, code in _BLOCK.findall(page) if kind == "python"]
    return {found[1]: code for code in blocks if (found := _SCRIPT.match(code))}


def commands(page: str) -> list[Typed]:
    """The lines that begin with ``$`` in console blocks, each with what stands below it."""
    blocks = [block for kind, block in _BLOCK.findall(page) if kind == "console"]
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [Typed(*part.partition("\n")[::2]) for part in parts]


class Printed(NamedTuple):
    """What a command did when it was typed."""

    out: str
    errors: str
    code: int


def type_all(typed: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[Printed]:
    """Type commands one after the other in one shell."""
    notes = folder / ".typed"
    notes.mkdir(exist_ok=True)
    line = "{{ {}\n}} >{}.out 2>{}.err </dev/null; echo $? >{}.code\n"
    places = [notes / str(number) for number in range(len(typed))]
    script = notes / "script.sh"
    script.write_text("".join(line.format(command, *[place] * 3) for command, place in zip(typed, places, strict=True)))
    subprocess.run(["bash", str(script)], cwd=folder, env=dict(environment), timeout=1500)
    texts = [[place.with_suffix(end).read_text() for end in (".out", ".err", ".code")] for place in places]
    return [Printed(out, errors, int(code)) for out, errors, code in texts]


def assert_printed(rows: Sequence[Typed], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Assert that commands print what the page shows.

    ``...`` stands for anything, a traceback is on stderr; a command that is shown without output must succeed.
    """
    checker = doctest.OutputChecker()
    for row, printed in zip(
        rows, type_all([row.command for row in rows], folder, environment or os.environ), strict=True
    ):
        got = printed.errors if row.output.startswith("Traceback") else printed.out
        wanted = row.output.strip("\n") + "\n"
        right = checker.check_output(wanted, got.strip("\n") + "\n", doctest.ELLIPSIS) if row.output.strip() else True
        assert right, f"$ {row.command}\n{printed.out}\n{printed.errors}"
        assert row.output.strip() or printed.code == 0, f"$ {row.command}\n{printed.errors}"
