"""Write a checkpoint that loads into the migrated class; without -o or --in-place, only print the plan."""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.checkpoint.limits import with_limits
from viscy_compat.checkpoint.locations import is_address, public_name
from viscy_compat.commands.check import add_expectations, add_statements, statements_of
from viscy_compat.commands.idle_flags import IdleFlags, name_idle
from viscy_compat.errors import UsageError
from viscy_compat.findings import Report
from viscy_compat.layout import quote_path
from viscy_compat.regular_files import refuse_collisions
from viscy_compat.report import emit, emit_each, write_outputs
from viscy_compat.rewrite.choosing import RemapRequest
from viscy_compat.rewrite.output import IfExists
from viscy_compat.rewrite.remapping import Prover, RemapResult, Wish, fulfil
from viscy_compat.words import NOT_IN_THE_HELP

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``remap``."""
    parser.add_argument("path", metavar="FILE", nargs="?", help="the checkpoint; never changed without --in-place")
    parser.add_argument("more", metavar="FILE", nargs="*", help=NOT_IN_THE_HELP)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("-o", dest="out", metavar="OUT", default=None, help="write .safetensors, or .ckpt/.pt/.pth")
    place.add_argument("--in-place", action="store_true", help="replace FILE, and keep it as FILE.bak")
    parser.add_argument(
        "--from-ledger", metavar="LEDGER", help="remap all that an audit found remappable into the folder after -o"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="processes of --from-ledger (default: one for each processor)"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT where it exists")
    parser.add_argument("--weights-only", action="store_true", help="leave optimizer and trainer state out")
    parser.add_argument(
        "--keep-classes", action="store_true", help="keep entries that torch.load's default refuses (.ckpt, .pt, .pth)"
    )
    parser.add_argument(
        "--class-path", metavar="NEW", default="", help="the LightningModule that the hyper-parameters then name"
    )
    parser.add_argument(
        "--sets",
        choices=("all", "chosen"),
        default="",
        help="which sets of weights OUT holds (all of them where the chosen one is what loaders take; else it alone)",
    )
    plans = parser.add_argument_group("the plan")
    plans.add_argument("--write-plan", metavar="PLAN.json", help="write the plan down")
    plans.add_argument("--plan", metavar="PLAN.json", help="apply a plan that was written down")
    plans.add_argument("--reverse", action="store_true", help="go back to the older layout")
    plans.add_argument("--against", metavar="FILE", help="the target layout is that of this checkpoint")
    plans.add_argument(
        "--hint", metavar="OLD=NEW", action="append", default=[], help="settle a rename that is inferred"
    )
    plans.add_argument(
        "--drop",
        metavar="NAME",
        action="append",
        default=[],
        help="leave a tensor or module out though it computes: changes predictions (repeatable)",
    )
    parser.add_argument("--card", metavar="CARD.md", help="write a model card of OUT: what it is, its origin, digests")
    plans.add_argument("--shim", metavar="SHIM.py", help="write the plan as Python that needs torch alone")
    proofs = parser.add_argument_group("the proof (needs the models extra)")
    proofs.add_argument("--prove", action="store_true", help="compare outputs with those of the old class")
    add_expectations(proofs)
    proofs.add_argument("--repo", metavar="PATH", help="a VisCy clone that holds the old class; else its wheel")
    proofs.add_argument("--legacy-python", metavar="PATH", help="the interpreter of the old class")
    add_statements(parser)


_IDLE = (
    IdleFlags(
        ("--repo", "--legacy-python"), lambda given: not given.prove, "without --prove, which runs the old class"
    ),
    IdleFlags(("--force",), lambda given: given.in_place, "beside --in-place, which keeps every FILE.bak"),
    IdleFlags(
        ("--force",),
        lambda given: not (given.out or given.in_place or given.write_plan or given.shim),
        "where nothing is written (-o, --write-plan, --shim)",
    ),
)


def run(arguments: Namespace) -> int:
    """Remap one file and report."""
    if arguments.from_ledger is not None:
        return _run_ledger(arguments)
    if arguments.jobs is not None:
        raise UsageError("--jobs is for the many files of a ledger", fix="add --from-ledger LEDGER, or leave it out")
    if arguments.path is None:
        raise UsageError("no file was given", fix="viscy-compat remap FILE -o OUT, or --from-ledger LEDGER -o FOLDER/")
    arguments.path = public_name(arguments.path)
    _refuse_empty_names(arguments)
    name_idle("remap", arguments, _IDLE)
    _refuse_odd_paths(arguments)
    question = RemapRequest(
        arguments.path,
        arguments.class_name or "",
        statements=statements_of(arguments),
        state_dict=arguments.state_dict,
        limits=with_limits(arguments.limit),
        plan=arguments.plan or "",
        against=public_name(arguments.against or ""),
        direction="back" if arguments.reverse else "forward",
        hints=tuple(arguments.hint),
        drops=tuple(arguments.drop),
    )
    wish = _wish(arguments)
    if arguments.prove and arguments.expect:
        raise UsageError("--prove and --expect exclude each other", fix="run them one after the other")
    if arguments.expect_precision and not arguments.expect:
        raise UsageError("--expect-precision says how outputs were made", fix="give them: --expect IO.safetensors")
    if arguments.card and not wish.out:
        raise UsageError("--card is about a new file, and nothing is written", fix="add -o OUT or --in-place")
    return emit(Report("remap", [_with_card(question, wish, arguments)]), arguments)


def _with_card(question: RemapRequest, wish: Wish, arguments: Namespace) -> RemapResult:
    """Remap, and write the card of what was written where one is asked for."""
    if not arguments.card:
        return _remap_file(question, wish, arguments)
    from viscy_compat.report.card import source_digest, with_card

    if_exists: IfExists = "overwrite" if arguments.force else "refuse"
    # before the remap: --in-place replaces what the card is about
    digest = source_digest(arguments.path, arguments.card, if_exists)
    return with_card(_remap_file(question, wish, arguments), digest, arguments.card, if_exists)


def _remap_file(question: RemapRequest, wish: Wish, arguments: Namespace) -> RemapResult:
    if not arguments.expect:
        prover: Prover | None = None
        if arguments.prove:
            if arguments.reverse or arguments.plan or arguments.against:
                raise UsageError("--prove is for plans out of the class's history", fix="use --expect IO.safetensors")
            from viscy_compat.proof.old_class import OldClassProver

            prover = OldClassProver(repo=arguments.repo, legacy_python=arguments.legacy_python)
        return fulfil(question, wish, prover=prover)
    from viscy_compat.commands.sources import teller
    from viscy_compat.outputs.expectation import Expectation, remap_expecting

    with Expectation(
        arguments.expect,
        class_name=arguments.class_name or "",
        precision=arguments.expect_precision,
        tell=teller(arguments, "remap"),
    ) as expectation:
        return remap_expecting(question, wish, expectation)


def _run_ledger(arguments: Namespace) -> int:
    """Remap all that an audit found remappable; a line a file as it comes."""
    from contextlib import closing

    from viscy_compat.fleet.engines import refuse_no_jobs
    from viscy_compat.fleet.remap_ledger import remap_ledger
    from viscy_compat.report import say, style_for
    from viscy_compat.report.text_remap_ledger import fortune_lines, remap_line

    _refuse_empty_names(arguments)
    single = [flag for flag, name in _OF_ONE_FILE.items() if getattr(arguments, name)]
    if single:
        raise UsageError(f"{single[0]} is for one file, and a ledger has many", fix="viscy-compat remap FILE -o OUT")
    # a file of that name would be in the way of the folder
    if not arguments.out or (os.path.lexists(arguments.out) and not os.path.isdir(arguments.out)):
        raise UsageError("--from-ledger needs the folder that new files go into", fix="add -o FOLDER/")
    request = RemapRequest(
        "", arguments.class_name or "", statements_of(arguments), limits=with_limits(arguments.limit)
    )
    refuse_no_jobs(arguments.jobs)
    wish, style = _wish(arguments), style_for(arguments)
    kept = []
    # whoever is interrupted between two rows ends the processes too
    with closing(remap_ledger(arguments.from_ledger, arguments.out, request, wish, jobs=arguments.jobs)) as rows:
        if arguments.format != "text":
            return emit_each("remap_ledger", rows, arguments)
        for row in rows:
            kept.append(row)
            if not arguments.quiet:
                say(remap_line(row, style))
    say("\n".join(fortune_lines(tuple(kept), style)))
    return write_outputs(Report("remap_ledger", kept), arguments)


_OF_ONE_FILE = {
    "FILE": "path",
    "--in-place": "in_place",
    "--plan": "plan",
    "--against": "against",
    "--reverse": "reverse",
    "--write-plan": "write_plan",
    "--shim": "shim",
    "--prove": "prove",
    "--repo": "repo",
    "--legacy-python": "legacy_python",
    "--expect": "expect",
    "--expect-precision": "expect_precision",
    "--card": "card",
    "--state-dict": "state_dict",
    "--hint": "hint",
    "--drop": "drop",
}
"""What means nothing for many files: each would need its own."""


def _refuse_odd_paths(arguments: Namespace) -> None:
    """Refuse a second file, which is meant as the output or as another job, and an output that is a folder."""
    if arguments.more:
        first, second = quote_path(arguments.path), quote_path(arguments.more[0])
        both = os.path.lexists(arguments.more[0]) and arguments.more[0].lower().endswith(_INPUTS)
        fix = f"one after the other, each with its -o: viscy-compat remap {first} -o OUT"
        raise UsageError(
            f"remap takes one file, and here are {1 + len(arguments.more)}",
            fix=fix if both else f"the output goes after -o: viscy-compat remap {first} -o {second}",
        )
    _refuse_shared_paths(arguments)
    if arguments.in_place and is_address(arguments.path):
        raise UsageError("what lies behind an address is only read", where=arguments.path, fix="-o OUT")
    if arguments.in_place and os.path.isdir(arguments.path):
        out = f"{os.path.splitext(os.path.normpath(arguments.path))[0]}.safetensors"
        raise UsageError("a folder is not replaced by a file", where=arguments.path, fix=f"-o {quote_path(out)}")
    if arguments.out and (os.path.isdir(arguments.out) or arguments.out.endswith(("/", os.sep))):
        name = os.path.basename(os.path.normpath(arguments.path))
        out = os.path.join(arguments.out, f"{os.path.splitext(name)[0]}.safetensors")
        raise UsageError("this is a folder, and -o takes a file", where=arguments.out, fix=f"-o {quote_path(out)}")


def _refuse_shared_paths(arguments: Namespace) -> None:
    """Refuse outputs that are one file, or one that is read besides the checkpoint, which `write` looks after."""
    reports = (output.partition(":")[2] for output in arguments.output)
    outputs = (arguments.out, arguments.write_plan, arguments.shim, arguments.card, *reports)
    inputs = (arguments.plan, arguments.against, arguments.expect, *arguments.config)
    refuse_collisions(list(filter(None, outputs)), filter(None, inputs))
    if arguments.card:
        refuse_collisions([arguments.card], [arguments.path])


_INPUTS = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".json")
"""A second file that exists and ends like this is a second job; anything else is an output without its -o."""


def _refuse_empty_names(arguments: Namespace) -> None:
    """Refuse an empty file name, which an unset variable of a shell gives: nobody means to leave the flag out."""
    for flag, name in _FILES.items():
        if getattr(arguments, name) == "":
            raise UsageError(f"{flag} names no file", fix="is a variable of the shell unset?")


_FILES = {
    "--from-ledger": "from_ledger",
    "-o": "out",
    "--plan": "plan",
    "--against": "against",
    "--expect": "expect",
    "--write-plan": "write_plan",
    "--shim": "shim",
    "--card": "card",
}


def _wish(arguments: Namespace) -> Wish:
    existing: IfExists = "back up" if arguments.in_place else "overwrite" if arguments.force else "refuse"
    out = arguments.path if arguments.in_place else arguments.out or ""
    for name in ("weights_only", "class_path", "sets", "keep_classes"):
        if getattr(arguments, name) and not out:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} says how to write, and nothing is written", fix="add -o OUT or --in-place")
    return Wish(
        out,
        existing,
        weights_only=arguments.weights_only,
        plan_out=arguments.write_plan or "",
        shim_out=arguments.shim or "",
        class_path=arguments.class_path,
        keep_classes=arguments.keep_classes,
        sets=arguments.sets,
    )
