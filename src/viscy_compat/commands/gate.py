"""The release-blocking job: everything that must hold before a release, as one command.

Stages that cost seconds come first. A stage that could not run is never a pass. Accepted differences are rows of
viscy-compat.toml or pyproject.toml ([tool.viscy-compat.accepted.ID] with class, code, reason, expires), printed every time.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from viscy_compat.architectures import find, known
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Kind, Setting
from viscy_compat.gating.stages import chosen
from viscy_compat.proof.candidate import PACKAGE
from viscy_compat.proof.candidate import candidate as read_candidate
from viscy_compat.report import emit
from viscy_compat.waivers import read_waivers

SOURCE_OPTIONS = (
    "repo",
    "rev",
    "wheel",
    "recorded",
    "allow_recorded",
    "trust_repo",
    "candidate_python",
    "legacy_python",
    "seed",
    "jobs",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``gate``."""
    parser.add_argument("classes", metavar="CLASS", nargs="*", help="classes to judge; all by default")
    parser.add_argument("--static", action="store_true", help="only what takes seconds: names, constructors, layouts")
    parser.add_argument("--numeric", action="store_true", help="only what computes: verify and explore")
    parser.add_argument("--profile", choices=("dev", "ci", "release"), default="ci", help="how much is explored")
    parser.add_argument("--waivers", metavar="FILE.toml", help="where the accepted differences stand")
    _add_sources(parser)


def _add_sources(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the two sides")
    group.add_argument("--repo", metavar="PATH", help="a VisCy clone with the old classes in its history")
    group.add_argument("--rev", help="the revision that holds them (default fe7a5da^)")
    group.add_argument("--wheel", metavar="VERSION", help="a release that holds them")
    group.add_argument("--recorded", action="store_true", help="compare with the recorded references alone")
    group.add_argument("--allow-recorded", action="store_true", help="accept them where no source can be had")
    group.add_argument("--trust-repo", action="store_true", help="read a clone that belongs to another user")
    group.add_argument("--candidate", metavar="NAME-OR-FOLDER", default=PACKAGE, help="the package that is judged")
    group.add_argument("--candidate-python", metavar="PATH", help="the interpreter of the candidate")
    group.add_argument("--legacy-python", metavar="PATH", help="the interpreter of the old classes")
    group.add_argument("--seed", type=int, default=0, help="set before every construction and forward pass")
    group.add_argument("--jobs", type=int, default=2, help="workers that compute at once")


def run(arguments: Namespace) -> int:
    """Run the gate and print its report."""
    waivers = read_waivers(arguments.waivers)
    kinds = kinds_of(arguments)
    setting = Setting(
        classes=tuple(find(name) for name in arguments.classes or known()),
        candidate=read_candidate(arguments.candidate),
        options={name: getattr(arguments, name) for name in SOURCE_OPTIONS},
        profile=arguments.profile,
        progress=_silent if arguments.quiet else _tell,
    )
    whole = len(kinds) == 2 and not arguments.classes
    return emit(gate(setting, chosen(kinds), waivers, whole=whole), arguments)


def kinds_of(arguments: Namespace) -> tuple[Kind, ...]:
    """Return the kinds of stages that are asked for: both, unless one of them is."""
    asked: tuple[Kind, ...] = (
        *(("static",) if arguments.static else ()),
        *(("numeric",) if arguments.numeric else ()),
    )
    return asked or ("static", "numeric")


def _tell(line: str) -> None:
    print(f"gate: {line}", file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    return None
