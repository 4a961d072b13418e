"""Write legacy_refs from history: what the old classes do, for every class, generation and case.

The same sources under the same versions on the same CPU give the same bytes. With --candidate and --generation the
candidate is frozen as a new generation. With --class and --cases any class of any package is recorded as it is.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.commands.idle_flags import WITHOUT_A_CLONE, IdleFlags, name_idle
from viscy_compat.commands.sources import interpreter, teller
from viscy_compat.errors import UsageError
from viscy_compat.references.own_classes import record_class
from viscy_compat.references.recording import record
from viscy_compat.report import emit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_IDLE = (
    IdleFlags(
        ("--repo", "--trust-repo", "--legacy-python"),
        lambda given: given.target or given.candidate,
        "beside --class and --candidate, which record a package of today",
    ),
    IdleFlags(
        ("--candidate-python",),
        lambda given: not (given.target or given.candidate),
        "without --candidate or --class: old code runs under --legacy-python",
    ),
    WITHOUT_A_CLONE,
)
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
    where = "where the references are (default: those of this installation; with --class legacy_refs)"
    parser.add_argument("--to", "--references", metavar="DIR", dest="to", help=where)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file would change")
    old = parser.add_argument_group("the old code")
    old.add_argument("--repo", metavar="PATH", help="a VisCy clone (else $VISCY_COMPAT_REPO, else the released wheels)")
    old.add_argument("--trust-repo", action="store_true", help="read a clone that belongs to another user")
    old.add_argument("--legacy-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    new = parser.add_argument_group("freezing a candidate")
    new.add_argument("--candidate", metavar="NAME-OR-FOLDER", help="the package that becomes a generation")
    new.add_argument("--generation", metavar="NAME", help="the name of that generation")
    new.add_argument("--candidate-python", metavar="PATH", type=interpreter, help="the interpreter that runs it")
    any_class = parser.add_argument_group("any class, without an architecture file")
    any_class.add_argument(
        "--class", metavar="PACKAGE.MODULE:CLASS", dest="target", help="the class, recorded as it is"
    )
    any_class.add_argument("--cases", metavar="FILE.toml", help="a table for each case: config, input, perhaps tensors")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="patience for one case (default 600)")


def run(arguments: Namespace) -> int:
    """Record and say what has changed."""
    name_idle("record", arguments, _IDLE)
    if arguments.target or arguments.cases:
        if not (arguments.target and arguments.cases) or arguments.classes:
            fix = "record --class viscy_models.unet:Unet3d --cases cases.toml --candidate src"
            raise UsageError("--class and --cases go together, and name the one class", fix=fix)
        names = ("candidate", "candidate_python", "generation", "to", "check", "timeout")
        options = {name: getattr(arguments, name) for name in names}
        report = record_class(arguments.target, arguments.cases, progress=teller(arguments, "record"), **options)
        return emit(report, arguments)
    options = {name: getattr(arguments, name) for name in _OPTIONS}
    report = record(arguments.classes or None, progress=teller(arguments, "record"), **options)
    return emit(report, arguments)
