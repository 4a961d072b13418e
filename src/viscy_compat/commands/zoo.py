"""List the published VisCy checkpoints, and what each needs to load as it was meant."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.diagnosis.zoo import zoo
from viscy_compat.report import emit_each

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HAS_FINDINGS = False


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``zoo``."""
    parser.add_argument(
        "words", metavar="WORD", nargs="*", help="only those with this in the nickname, file name or class"
    )


def run(arguments: Namespace) -> int:
    """Print the list."""
    return emit_each("zoo", zoo(arguments.words), arguments)
