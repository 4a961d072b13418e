"""Compare two checkpoints: names, shapes, dtypes, and whether the numbers are the same bytes; any format, no torch."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from viscy_compat.checkpoint.limits import with_limits
from viscy_compat.diagnosis.difference import diff
from viscy_compat.report import emit


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``diff``."""
    parser.add_argument("path", metavar="A", help="a checkpoint")
    parser.add_argument("other", metavar="B", help="another one")
    parser.add_argument("--state-dict", metavar="ADDRESS", help="which set of weights of both, where they hold several")
    parser.add_argument(
        "--limit", metavar="NAME=NUMBER", action="append", default=[], help="raise a limit of the reader (repeatable)"
    )


def run(arguments: Namespace) -> int:
    """Compare and print the report."""
    limits = with_limits(arguments.limit)
    return emit(diff(arguments.path, arguments.other, state_dict=arguments.state_dict, limits=limits), arguments)
