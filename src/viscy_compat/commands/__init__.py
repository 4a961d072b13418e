"""One file per command: the library call, then the renderer."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any, Sequence
from viscy_compat.report import FORMATS
from viscy_compat.version import __version__
from viscy_compat.words import PlainWords

if TYPE_CHECKING:
    from argparse import ArgumentParser

COMMANDS = {
    "check": "does each checkpoint load into the migrated class; what fixes it",
    "audit": "thousands of checkpoints: a row each, a ledger, a summary",
    "remap": "write a checkpoint that loads, or print the plan",
    "diff": "two checkpoints: names, shapes, dtypes, bytes",
    "inspect": "what is in this file, without loading it",
    "verify": "old classes from history against the migrated ones, byte for byte",
    "zoo": "the published checkpoints, and what each needs",
    "explore": "hunt for shape breakage; --ask answers before you train",
    "gate": "everything that must hold before a release, as one command",
    "record": "write legacy_refs from history; freeze a candidate as a generation",
    "explain": "what a finding code means and what to do",
    "doctor": "what would stop each command here: versions, extras, the cache",
    "completion": "a script that completes all this in bash, zsh or fish",
}


def declare_arguments(parser: PlainWords | ArgumentParser, module: Any) -> None:
    """State the arguments that every command has, and those of one command's module."""
    formats: Sequence[str] = getattr(module, "FORMATS", FORMATS)
    parser.set_defaults(formats=formats)
    common = parser.add_argument_group("report")
    common.add_argument(
        "--format",
        metavar="FORMAT",
        choices=formats,
        default="text",
        help=f"how the report on stdout is written: {', '.join(formats)}",
    )
    common.add_argument(
        "--output",
        metavar="FORMAT:PATH",
        action="append",
        default=[],
        help="write the report to a file too (repeatable)",
    )
    common.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour the text report")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress, and only what needs attention")
    common.add_argument("-v", "--verbose", action="store_true", help="say everything: no lists are shortened")
    common.add_argument("--version", action="version", version=f"viscy-compat {__version__}")
    if getattr(module, "HAS_FINDINGS", True):
        _add_selection(parser)
    module.add_arguments(parser)


def _add_selection(parser: PlainWords | ArgumentParser) -> None:
    """State which findings are shown; differences that a gate shall accept are rows of its configuration."""
    shown = parser.add_argument_group("findings")
    shown.add_argument(
        "--select",
        metavar="CODE",
        action="append",
        default=[],
        help="show only findings of this code, VC3 for all VC3xx; verdicts and exit codes stay",
    )
    shown.add_argument(
        "--ignore",
        metavar="CODE",
        action="append",
        default=[],
        help="show no findings of this code; verdicts and exit codes stay",
    )
