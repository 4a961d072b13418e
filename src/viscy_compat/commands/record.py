"""Write legacy_refs from history: what the old classes do, for every class, generation and case.

The same sources under the same versions on the same CPU give the same bytes. With --candidate and --generation the
candidate is frozen as a new generation.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from viscy_compat.commands.sources import interpreter, teller
from viscy_compat.proof.recording import record
from viscy_compat.report import emit

_OPTIONS = (
    "repo",
    "trust_repo",
    "legacy_python",
    "candidate",
    "candidate_python",
    "generation",
    "to",
    "check",
    "timeout",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``record``."""
    parser.add_argument("classes", metavar="CLASS", nargs="*", help="classes to record; all by default")
    parser.add_argument("--to", metavar="DIR", help="where the references are (default: those of this installation)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file would change")
    old = parser.add_argument_group("the old code")
    old.add_argument("--repo", metavar="PATH", help="a VisCy clone (else $VISCY_COMPAT_REPO, else the released wheels)")
    old.add_argument("--trust-repo", action="store_true", help="read a clone that belongs to another user")
    old.add_argument("--legacy-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    new = parser.add_argument_group("freezing a candidate")
    new.add_argument("--candidate", metavar="NAME-OR-FOLDER", help="the package that becomes a generation")
    new.add_argument("--generation", metavar="NAME", help="the name of that generation")
    new.add_argument("--candidate-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="patience for one case (default 600)")


def run(arguments: Namespace) -> int:
    """Record and say what has changed."""
    options = {name: getattr(arguments, name) for name in _OPTIONS}
    report = record(arguments.classes or None, progress=teller(arguments, "record"), **options)
    return emit(report, arguments)
