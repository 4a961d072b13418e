"""`audit` as a function: the rows of the command as results of a report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from viscy_compat.architectures import find
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside, Report, Verdict
from viscy_compat.fleet.audit import Audit
from viscy_compat.fleet.engines import engine_for
from viscy_compat.fleet.judging import AuditQuestion
from viscy_compat.fleet.ledger import Ledger, usual_ledger
from viscy_compat.fleet.listing import Links, TargetSpool, expand_lists, rooms_of, targets_of
from viscy_compat.fleet.outcome import ForeignPolicy, Policy, ReportedRow
from viscy_compat.stated import config_statements


def audit(
    *paths: str | os.PathLike[str],
    class_name: str = "",
    config: Mapping[str, Any] | None = None,
    ledger: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    follow: bool = False,
    thorough: bool = False,
    jobs: int = 1,
    allow: Iterable[Verdict] = (),
    foreign: ForeignPolicy = "aside",
) -> Report[ReportedRow]:
    """Say of each of many files whether it loads, one row a file, and keep a ledger that a second run goes on from.

    Parameters
    ----------
    *paths : str or os.PathLike
        Files, folders, addresses; ``@FILE`` reads a list.
    class_name : str, optional
        The class that all of them are stated to be.
    config : Mapping[str, Any], optional
        Constructor arguments that are stated of all of them.
    ledger : str or os.PathLike, optional
        Where the ledger is kept; in the folder for caches where nothing is said.
    fresh : bool, optional
        Judge every file anew, whatever the ledger holds.
    follow : bool, optional
        Follow links out of the folders given.
    thorough : bool, optional
        Read every byte.
    jobs : int, optional
        Processes. More than one start this program's own file anew in each, as `multiprocessing` does: a script then needs
        ``if __name__ == "__main__":``.
    allow : Iterable[Verdict], optional
        Verdicts that leave the report true.
    foreign : {"aside", "fail", "skip"}, optional
        What becomes of files that are no checkpoints.

    Returns
    -------
    Report[ReportedRow]
        One result a file, in natural order; all of them are held in memory, where the command holds one at a time.

    Raises
    ------
    UsageError
        Where no path was given, a folder holds no checkpoint, or what is stated cannot be meant.

    Examples
    --------
    >>> audit()
    Traceback (most recent call last):
    viscy_compat.errors.UsageError: no path was given; name files, or a folder that holds checkpoints
    """
    names = list(expand_lists([os.fspath(path) for path in paths]))
    links: Links = "follow" if follow else "stay"
    question = AuditQuestion(
        class_name=find(class_name).name if class_name else "",
        statements=config_statements(config),
        state_dict=None,
        limits=DEFAULT_LIMITS,
        depth="every byte" if thorough else "verdict",
        rooms=rooms_of(names, links),
    )
    policy = Policy(tuple(allow), foreign)
    aside: list[Aside] = []
    with TargetSpool(targets_of(names, links, aside)) as spool:
        if not spool.count:
            where, what = (aside[0].file, aside[0].what) if aside else ("", "no path was given")
            raise UsageError(what, where=where, fix="name files, or a folder that holds checkpoints")
        with Ledger(os.fspath(ledger or usual_ledger(names))) as kept:
            run = Audit(question, engine := engine_for("", jobs, spool.count), kept, fresh=fresh)
            whole = False
            try:
                rows = list(filter(policy.keeps, run.rows(spool)))
                whole = True
            finally:
                engine.close(at_once=not whole)
            kept.sort(run.places, filter(os.path.isdir, names))
    foreign_only = bool(rows) and all(row.foreign for row in rows)
    results = [ReportedRow(row, policy.exit_code(row)) for row in rows]
    return Report("audit", results, exit_code=2 if foreign_only else 0, aside=policy.settle(aside))
