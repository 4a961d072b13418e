"""What a finding code means, and what to do about it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence

from viscy_compat.errors import UsageError
from viscy_compat.findings import CATALOGUE, Code, Explanation
from viscy_compat.report import emit_each


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.add_argument("codes", metavar="CODE", nargs="*", help="finding codes such as VC201; all of them without one")


def run(arguments: Namespace) -> int:
    """Print entries of the catalogue, or the list of all."""
    entries = [_entry(code) for code in arguments.codes]
    return emit_each("explain", _explanations(entries), arguments)


def _explanations(entries: Sequence[Code]) -> Iterator[Explanation]:
    for entry in entries or CATALOGUE.values():
        yield Explanation(entry, shortened=not entries)


def _entry(code: str) -> Code:
    entry = CATALOGUE.get(code.upper())
    if entry is None:
        raise UsageError(f"there is no finding code {code!r}", fix="viscy-compat explain lists them all")
    return entry
