"""What would stop each command here: versions, packages of the extras, the cache.

Commands that are named must run: what stops one of them is exit code 1. Else only what is broken is.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.commands import COMMANDS
from viscy_compat.readiness import examine
from viscy_compat.report import emit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``doctor``."""
    parser.add_argument("commands", metavar="COMMAND", nargs="*", help="commands that must run here")
    parser.add_argument("--quick", action="store_true", help="look at versions, and import nothing")


def run(arguments: Namespace) -> int:
    """Examine this environment and print the report."""
    return emit(examine(tuple(COMMANDS), arguments.commands, quick=arguments.quick), arguments)
