"""Hunt for shape breakage with hypothesis; or, with --ask, say what a configuration does before it is trained.

Laws: old equals new, the shape rule, reconstructions, layouts, inference, batches and modes, unread slices, round trips.
Accepted differences are rows of viscy-compat.toml or pyproject.toml ([tool.viscy-compat.accepted.ID] with class, law,
reason, expires), as for `gate`.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Architecture
from viscy_compat.commands.idle_flags import OLD_CODE, WITHOUT_A_CLONE, IdleFlags, name_idle
from viscy_compat.commands.sources import PACKAGE, add_sources, options_of, refuse_strange, teller
from viscy_compat.errors import UsageError, lacking
from viscy_compat.findings import Report
from viscy_compat.report import emit
from viscy_compat.waivers import read_configuration

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_OLD = ("repo", "rev", "wheel", "trust_repo", "legacy_python")
_NEW = ("candidate", "candidate_python", "jobs", "timeout")
_HUNTING = ("--profile", "--examples", "--law", "--waivers", "--seed", "--jobs", "--timeout")
_USUAL = {"--profile": "dev", "--jobs": 2, "--candidate": PACKAGE}
_IDLE = (
    IdleFlags(("--input",), lambda given: given.plot, "beside --plot, which draws every input"),
    IdleFlags(
        (*_HUNTING, *OLD_CODE, "--recorded", "--allow-recorded", "--candidate", "--candidate-python"),
        lambda given: given.plot or given.ask or given.input,
        "beside --ask, --input and --plot, which ask the shape rule and run no model",
    ),
    WITHOUT_A_CLONE,
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explore``."""
    parser.add_argument("classes", metavar="CLASS", nargs="*", help="classes to explore; all by default")
    hunt = parser.add_argument_group("hunting")
    hunt.add_argument("--profile", choices=("dev", "ci", "release"), default="dev", help="20, 100 or 1,000 examples")
    hunt.add_argument("--examples", metavar="N", type=int, help="that many examples instead")
    hunt.add_argument("--law", metavar="LAW", action="append", help="only this law (repeatable)")
    hunt.add_argument("--waivers", metavar="FILE.toml", help="where the accepted differences stand")
    hunt.add_argument("--plot", metavar="FILE", help="draw the map of one class instead (.png, .svg, .pdf, .html)")
    hunt.add_argument(
        "--beside", metavar="NAME=VALUE", action="append", default=[], help="a second map with this argument changed"
    )
    asking = parser.add_argument_group("asking, without torch")
    asking.add_argument("--ask", metavar="NAME=VALUE", action="append", default=[], help="a constructor argument")
    asking.add_argument("--input", metavar="B,C,D,H,W", help="another input than the one that the class is built for")
    add_sources(parser)
    parser.set_defaults(seed=None)


def run(arguments: Namespace) -> int:
    """Answer a question, draw a map, or hunt."""
    name_idle("explore", arguments, _IDLE, _USUAL)
    if arguments.plot:
        return _plot(arguments)
    if arguments.beside:
        raise UsageError("--beside is about a second map", fix="add --plot FILE.png")
    if arguments.ask or arguments.input:
        return _answer(arguments)
    if arguments.recorded or arguments.allow_recorded:
        raise UsageError("recorded references cannot be explored", fix="use --wheel VERSION or --repo PATH")
    try:
        from viscy_compat.exploring.exploration import explore
    except ModuleNotFoundError as error:
        raise lacking("exploring", error.name, "explore") from error
    # a project's rows lie beside its code, wherever the command is typed
    folder = [arguments.candidate] if os.path.isdir(arguments.candidate) else []
    waivers = read_configuration(arguments.waivers, near=[*folder, "."]).waivers
    refuse_strange(waivers)
    report = explore(
        arguments.classes or None,
        profile=arguments.profile,
        examples=arguments.examples,
        seed=arguments.seed,
        laws=arguments.law,
        waivers=waivers,
        progress=teller(arguments, "explore"),
        **options_of(arguments, _OLD, _NEW),
    )
    return emit(report, arguments)


def _answer(arguments: Namespace) -> int:
    from viscy_compat.architectures.asking import ask
    from viscy_compat.stated import parse_settings, parse_value

    shape = parse_value(arguments.input) if arguments.input else None
    if shape is not None and not (isinstance(shape, tuple) and all(type(size) is int for size in shape)):
        raise UsageError(f"--input {arguments.input!r} is no shape", fix="for example --input 2,2,16,128,128")
    answer = ask(_the_class(arguments, "--ask"), parse_settings(arguments.ask, flag="--ask"), shape)
    return emit(Report("explore", [answer]), arguments)


def _plot(arguments: Namespace) -> int:
    from viscy_compat.report.maps import draw
    from viscy_compat.stated import parse_settings

    asked = parse_settings(arguments.ask, flag="--ask")
    beside = parse_settings(arguments.beside, flag="--beside")
    return emit(
        Report("explore", [draw(_the_class(arguments, "--plot"), asked, arguments.plot, beside=beside or None)]),
        arguments,
    )


def _the_class(arguments: Namespace, flag: str) -> Architecture:
    if len(arguments.classes) != 1:
        raise UsageError(f"{flag} is about one class", fix=f"viscy-compat explore BetaVae25D {flag} ...")
    return find(arguments.classes[0])
