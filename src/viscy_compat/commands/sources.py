"""The arguments that say what the two sides are; ``verify``, ``record``, ``explore`` and ``gate`` share them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.architectures import class_names
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.report import say
from viscy_compat.waivers import Waiver

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

PACKAGE = "viscy_models"

OLD = ("repo", "rev", "wheel", "recorded", "allow_recorded", "trust_repo", "legacy_python")
NEW = ("candidate", "candidate_python")
RUNNING = ("seed", "jobs", "timeout")


def add_sources(parser: ArgumentParser) -> None:
    """Add the arguments about the old code, the candidate, and how both are run."""
    old = parser.add_argument_group("the old code")
    old.add_argument("--repo", metavar="PATH", help="a VisCy clone (else $VISCY_COMPAT_REPO, else the released wheel)")
    old.add_argument("--rev", metavar="REV", help="a revision of the clone (default fe7a5da^)")
    old.add_argument("--wheel", metavar="VERSION", help="a release, for example 0.4.0")
    old.add_argument("--recorded", action="store_true", help="compare with the recorded references alone")
    old.add_argument("--allow-recorded", action="store_true", help="accept them where no source can be had")
    old.add_argument("--trust-repo", action="store_true", help="read a clone that belongs to another user")
    old.add_argument("--legacy-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    new = parser.add_argument_group("the candidate")
    what = "a package, or a folder that holds a package viscy_models"
    new.add_argument("--candidate", metavar="NAME-OR-FOLDER", default=PACKAGE, help=what)
    new.add_argument("--candidate-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    running = parser.add_argument_group("running")
    running.add_argument("--seed", metavar="N", type=int, default=0, help="set before every construction and forward")
    running.add_argument("--jobs", metavar="N", type=int, default=2, help="processes that compute at once (default 2)")
    running.add_argument("--timeout", metavar="SECONDS", type=float, help="patience for one case (default 600)")


def options_of(arguments: Namespace, *groups: tuple[str, ...]) -> dict[str, Any]:
    """Return arguments as keywords for the public functions."""
    return {name: getattr(arguments, name) for group in groups or (OLD, NEW, RUNNING) for name in group}


def refuse_strange(waivers: Iterable[Waiver]) -> None:
    """Refuse rows about a class that nobody knows: they would cover nothing for good."""
    for row in waivers:
        if row.class_name not in ("*", *class_names()):
            fix = f'"*", or one of {", ".join(class_names())}'
            raise UsageError(
                f"is about {row.class_name}, and no such class is known", where=f"accepted.{row.id}", fix=fix
            )


def interpreter(path: str) -> str:
    """Return where an interpreter is, wherever a worker is started: a name is looked up on the path."""
    # a shell leaves the ~ of --candidate-python=~/... alone
    path = os.path.expanduser(path)
    return os.path.abspath(path) if os.sep in path else shutil.which(path) or path


def teller(arguments: Namespace, command: str) -> Callable[[str], None]:
    """Return what prints progress on stderr; nothing with ``--quiet``."""

    def tell(line: str) -> None:
        if not arguments.quiet:
            say(f"{command}: {printable(line)}", to="stderr")

    return tell
