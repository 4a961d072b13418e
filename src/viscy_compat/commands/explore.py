"""Ask what a configuration does with an input before it is trained: what comes out, what is lost, what is exact."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from viscy_compat.architectures import find
from viscy_compat.architectures.asking import ask
from viscy_compat.errors import UsageError
from viscy_compat.findings import Report
from viscy_compat.report import emit
from viscy_compat.stated import parse_settings, parse_value


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explore``."""
    rule = parser.add_argument_group("explore")
    rule.add_argument("classes", metavar="CLASS", nargs="*", help="the classes")
    rule.add_argument("--ask", metavar="NAME=VALUE", action="append", default=[], help="a constructor argument")
    rule.add_argument("--input", metavar="B,C,D,H,W", help="another input than the one that the class is built for")


def run(arguments: Namespace) -> int:
    """Answer a question about one class."""
    return _answer(arguments)


def _answer(arguments: Namespace) -> int:
    if len(arguments.classes) != 1:
        raise UsageError("--ask is about one class", fix="viscy-compat explore BetaVae25D --ask backbone=convnext_tiny")
    fed = parse_value(arguments.input) if arguments.input else None
    if fed is not None and not (isinstance(fed, tuple) and all(type(size) is int for size in fed)):
        raise UsageError(f"--input {arguments.input!r} is no shape", fix="for example --input 2,2,16,128,128")
    answer = ask(find(arguments.classes[0]), parse_settings(arguments.ask, flag="--ask"), fed)
    return emit(Report("explore", [answer]), arguments)
