"""What is in this file: wrapper, tensors, hyper-parameters, optimizer state, and the names that the pickle mentions."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.checkpoint.limits import with_limits
from viscy_compat.lookup import inspection_of
from viscy_compat.report import emit_each

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``inspect``."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a checkpoint, or the index of a sharded one")
    parser.add_argument(
        "--state-dict",
        metavar="ADDRESS",
        help="which set of weights, where a file holds several ('ema.state_dict', 'state_dict:teacher.')",
    )
    parser.add_argument(
        "--limit", metavar="NAME=NUMBER", action="append", default=[], help="raise a limit of the reader (repeatable)"
    )
    parser.add_argument("--crc", action="store_true", help="read every byte and verify every stored CRC-32")


def run(arguments: Namespace) -> int:
    """Inspect each file and print the report."""
    how = {
        "limits": with_limits(arguments.limit),
        "state_dict": arguments.state_dict,
        "every_byte": arguments.crc,
    }
    return emit_each("inspect", (inspection_of(path, **how) for path in arguments.files), arguments)
