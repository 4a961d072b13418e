"""Thousands of checkpoints: a row for each as it comes, a ledger to go on from, and a summary of a dozen rows."""

from __future__ import annotations

import os
from typing import Any, get_args

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.checkpoint.limits import with_limits
from viscy_compat.commands.check import add_statements, statements_of
from viscy_compat.commands.idle_flags import IdleFlags, name_idle
from viscy_compat.errors import UsageError
from viscy_compat.findings import EXIT_CODES, Aside, ClosedFolder, Verdict, selection_of
from viscy_compat.fleet.audit import Audit
from viscy_compat.fleet.engines import Engine, engine_for
from viscy_compat.fleet.judging import AuditQuestion, from_anywhere
from viscy_compat.fleet.ledger import Ledger, usual_ledger
from viscy_compat.fleet.listing import Links, TargetSpool, expand_lists, rooms_of, targets_of
from viscy_compat.fleet.outcome import AuditOutcome, ForeignPolicy, Policy
from viscy_compat.fleet.tally import Tally
from viscy_compat.layout import quote_path
from viscy_compat.report import outputs_of, say, style_for
from viscy_compat.report.audit_files import AUDIT_FORMATS, json_line, pieces, refuse_binary_on_a_terminal, write_file
from viscy_compat.report.audit_progress import AuditProgress
from viscy_compat.report.terminal import Style
from viscy_compat.report.text_audit import row_line, summary

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

FORMATS = AUDIT_FORMATS


_IDLE = (IdleFlags(("--jobs",), lambda given: given.on, "beside --on: the cluster says how many processes there are"),)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``audit``."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="files, folders, addresses; - reads a list from stdin, @FILE from a file",
    )
    parser.add_argument("--ledger", metavar="FILE", help="where the ledger is kept (default: in the folder for caches)")
    parser.add_argument("--fresh", action="store_true", help="judge every file anew, whatever the ledger holds")
    parser.add_argument("--follow", action="store_true", help="follow links out of the folders given")
    parser.add_argument("--thorough", action="store_true", help="read every byte, as check --thorough does")
    parser.add_argument("--jobs", metavar="N", type=int, help="processes (default: one for each processor)")
    parser.add_argument("--on", metavar="PLACE", default="", help="dask://HOST:PORT or slurm: judge on a cluster")
    parser.add_argument("--allow", metavar="VERDICT,...", default="", help="verdicts that leave the exit code 0")
    parser.add_argument(
        "--foreign",
        choices=get_args(ForeignPolicy),
        default="aside",
        help="files that are no checkpoints: a row beside the others, a failure, or no row (default: aside)",
    )
    add_statements(parser)


def run(arguments: Namespace) -> int:
    """Audit what is given, print rows as they come, then the summary and the files that were asked for."""
    name_idle("audit", arguments, _IDLE)
    if arguments.format == "parquet" and not arguments.output:
        raise refuse_binary_on_a_terminal()
    policy = _policy(arguments)
    links: Links = "follow" if arguments.follow else "stay"
    # a list on stdin can be read once, and is needed twice
    paths = list(expand_lists(arguments.paths))
    question = _question(arguments, rooms_of(paths, links))
    aside: list[Aside] = []
    targets = targets_of(paths, links, aside)
    # listed to the end before the first is read: the end of the work is then known, and no name is held in memory
    with TargetSpool(map(from_anywhere, targets) if arguments.on else targets) as spool:
        if not spool.count:
            where, what = (aside[0].file, aside[0].what) if aside else ("", "no path was given")
            raise UsageError(what, where=where, fix="name files, or a folder that holds checkpoints")
        with Ledger(arguments.ledger or usual_ledger(paths)) as ledger:
            engine = engine_for(arguments.on, arguments.jobs, spool.count)
            return _read_rows(
                Audit(question, engine, ledger, fresh=arguments.fresh), engine, ledger, spool, policy, aside, arguments
            )


def _read_rows(
    audit: Audit,
    engine: Engine,
    ledger: Ledger,
    spool: TargetSpool,
    policy: Policy,
    aside: list[Aside],
    arguments: Namespace,
) -> int:
    """Go through the files; an interrupted run prints what was known by then, and its ledger is whole."""
    tally, code = Tally(), 0
    progress = AuditProgress(spool.count, quiet=arguments.quiet)
    printer = _printer(arguments)
    stop: KeyboardInterrupt | None = None
    whole = False
    try:
        for row in audit.rows(spool):
            progress.step()
            if policy.keeps(row):
                shown = policy.shown(row)
                tally.add(shown)
                code = max(code, policy.exit_code(row))
                if printer:
                    progress.clear()
                    say(printer(shown))
        whole = True
    except KeyboardInterrupt as caught:
        stop = caught
    finally:
        # nobody waits for what is at work once the run is given up
        engine.close(at_once=not whole)
    progress.clear()
    # a folder without a single checkpoint was probably not the one that was meant
    if not code and tally.files and tally.count("verdict", "foreign") == tally.files:
        code = 2
    aside = policy.settle(aside)
    code = max([code, *(2 for row in aside if isinstance(row, ClosedFolder))])
    outcome = AuditOutcome(audit.read, tally, policy=policy, exit_code=code, aside=aside, interrupted=stop is not None)
    unsorted = ledger.sort(audit.places, filter(os.path.isdir, arguments.paths)) if stop is None else ""
    _report(outcome, arguments)
    if not arguments.quiet:
        known = f"{audit.known:,} known from an earlier run; " if audit.known else ""
        order = f", in the order in which files were judged ({unsorted})" if unsorted else ""
        say(f"{known}ledger: {ledger.path}{order}", to="stderr")
        if tally.count("verdict", "remappable"):
            say(f"next: viscy-compat remap --from-ledger {quote_path(ledger.path)} -o FOLDER/", to="stderr")
    if stop is not None:
        raise stop
    return code


def _printer(arguments: Namespace) -> Any:
    """Return what prints a row as it comes; None where the report is made at the end."""
    style = style_for(arguments)
    if arguments.format == "jsonl":
        return json_line
    return None if arguments.format != "text" or arguments.quiet else lambda row: row_line(row, style)


def _report(outcome: AuditOutcome, arguments: Namespace) -> None:
    style: Style = style_for(arguments)
    if arguments.format == "text":
        say(summary(outcome, style))
    elif arguments.format not in ("jsonl", "parquet"):
        for piece in pieces(outcome, arguments.format, style):
            say(piece, end="")
        say("")
    for format, path in outputs_of(arguments):
        write_file(outcome, format, path)


def _policy(arguments: Namespace) -> Policy:
    allow: list[Verdict] = []
    for word in filter(None, arguments.allow.split(",")):
        verdict = next((each for each in EXIT_CODES if each == word.strip()), None)
        if verdict is None:
            raise UsageError(f"--allow {word.strip()!a} is no verdict", fix=f"verdicts: {', '.join(EXIT_CODES)}")
        allow.append(verdict)
    return Policy(tuple(allow), arguments.foreign, selection_of(arguments.select, arguments.ignore))


def _question(arguments: Namespace, rooms: tuple[str, ...]) -> AuditQuestion:
    from viscy_compat.architectures import find

    return AuditQuestion(
        class_name=find(arguments.class_name).name if arguments.class_name else "",
        statements=statements_of(arguments),
        state_dict=arguments.state_dict,
        limits=with_limits(arguments.limit),
        depth="every byte" if arguments.thorough else "verdict",
        rooms=rooms,
    )
