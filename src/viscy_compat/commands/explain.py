"""What a finding code means, and what to do about it."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.lookup import explanations_of
from viscy_compat.report import emit_each

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HAS_FINDINGS = False


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.add_argument("codes", metavar="CODE", nargs="*", help="finding codes such as VC201; all of them without one")


def run(arguments: Namespace) -> int:
    """Print entries of the catalogue, or the list of all."""
    return emit_each("explain", explanations_of(arguments.codes), arguments)
