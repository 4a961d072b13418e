"""What a finding code means, and what to do about it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from viscy_compat.errors import UsageError
from viscy_compat.findings import CATALOGUE
from viscy_compat.report import style_for


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.add_argument("code", metavar="CODE", nargs="?", help="a finding code such as VC201; all of them without one")


def run(arguments: Namespace) -> int:
    """Print one entry of the catalogue, or the list of all."""
    if arguments.code is None:
        print("\n".join(f"{entry.id}  {entry.severity:<8}{entry.title}" for entry in CATALOGUE.values()))
        return 0
    entry = CATALOGUE.get(arguments.code.upper())
    if entry is None:
        raise UsageError(f"there is no finding code {arguments.code!r}", fix="viscy-compat explain lists them all")
    style = style_for(arguments)
    print(
        f"{style.paint(entry.id, 1)} ({entry.severity}): {entry.title}\n\n{entry.meaning}\n\nWhat to do: {entry.remedy}"
    )
    return 0
