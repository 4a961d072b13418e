"""Rebuild the old classes from history and compare the migrated ones with them, byte for byte.

Constructors, names, order, shapes and dtypes of tensors, seeded initial weights, and under equal weights the outputs in
eval and train mode. The old code runs in a process of its own, without network.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.commands.idle_flags import WITHOUT_A_CLONE, IdleFlags, name_idle
from viscy_compat.commands.sources import add_sources, options_of, teller
from viscy_compat.proof.equivalence import verify
from viscy_compat.report import emit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


_IDLE = (
    IdleFlags(
        ("--legacy-python", "--trust-repo", "--save-evidence"),
        lambda given: given.recorded,
        "beside --recorded, which runs no old code",
    ),
    WITHOUT_A_CLONE,
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``verify``."""
    parser.add_argument("classes", metavar="CLASS", nargs="*", help="classes to compare; all by default")
    parser.add_argument("--save-evidence", metavar="DIR", help="keep the tensors of both sides where numbers differ")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where both sides compute (default cpu; cuda is a GPU)"
    )
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Compare and print the report."""
    name_idle("verify", arguments, _IDLE)
    progress = teller(arguments, "verify")
    evidence = arguments.save_evidence
    report = verify(
        arguments.classes or None,
        save_evidence=evidence,
        device=arguments.device,
        progress=progress,
        **options_of(arguments),
    )
    return emit(report, arguments)
