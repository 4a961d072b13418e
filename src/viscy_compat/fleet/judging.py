"""What a worker does: judge some files, and answer with the rows of the ledger."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from hashlib import blake2b

from viscy_compat.architectures.inference import RecentAnswers
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.locations import know_plain
from viscy_compat.checkpoint.pickle_spans import RecentSpans
from viscy_compat.checkpoint.safetensors_reader import headers_in_use
from viscy_compat.checkpoint.sources import ReadTrace
from viscy_compat.checkpoint.torch_zip import spans_in_use
from viscy_compat.diagnosis import Depth, diagnose
from viscy_compat.fleet.likeness import Likeness
from viscy_compat.fleet.row import AuditRow, line_of, row_of
from viscy_compat.fleet.target import Target
from viscy_compat.named import NamedTuple
from viscy_compat.regular_files import Rooms
from viscy_compat.stated import Statement


class AuditQuestion(NamedTuple):
    """What is asked of every file of an audit; ``rooms`` are the folders that no link may lead out of."""

    class_name: str = ""
    statements: tuple[Statement, ...] = ()
    state_dict: str | None = None
    limits: Limits = DEFAULT_LIMITS
    depth: Depth = "verdict"
    rooms: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """A short text that differs where an answer may; empty for the question that is asked most."""
        options = (self.class_name, self.statements, self.state_dict, self.limits, self.depth, bool(self.rooms))
        if options == ("", (), None, DEFAULT_LIMITS, "verdict", True):
            return ""
        return blake2b(repr(options).encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


def judge_shard(question: AuditQuestion, targets: Sequence[Target]) -> list[bytes]:
    """Judge files one after the other, and return their lines of the ledger.

    Parameters
    ----------
    question : AuditQuestion
        What is options of each.
    targets : Sequence[Target]
        The files, as they were when they were listed.
    """
    options = question.mark
    likeness = _likenesses.setdefault((*question.rooms, options), Likeness())
    lines = []
    with Rooms(question.rooms):
        # a scheduler may hand on plain tuples
        for target in (Target(*each) for each in targets):
            row = likeness.find(target)
            if row is None:
                with ReadTrace() as trace:
                    row = judge_target(question, target, options)
                likeness.remember(target, row, trace)
            lines.append(line_of(row))
    return lines


_likenesses: dict[tuple[str, ...], Likeness] = {}
"""What this process remembers, for each question that it was asked."""


_spans = RecentSpans()
_headers = RecentAnswers(most=16)
"""What this process remembers of their pickles, and of headers, which take up to half a megabyte each."""


def judge_target(question: AuditQuestion, target: Target, options: str) -> AuditRow:
    """Judge one file, whatever was judged before."""
    # Some ten thousand objects are made for a file and are gone with it, none in a circle: a collector that begins
    # between two of them, while all are there, walks through them for a tenth of the time that the file takes.
    was_enabled = gc.isenabled()
    gc.disable()
    spans_in_use.append(_spans)
    headers_in_use.append(_headers.answer)
    # each target is as somebody gave it, whatever else this process has opened under that name
    know_plain((target.path,))
    try:
        diagnosis = diagnose(
            target.path,
            class_name=question.class_name,
            statements=question.statements,
            state_dict=question.state_dict,
            limits=question.limits,
            # of what is stated for all files, something may not be about this one
            alone=False,
            depth=question.depth,
        )
        return row_of(diagnosis, target, options)
    finally:
        headers_in_use.pop()
        spans_in_use.pop()
        if was_enabled:
            gc.enable()


def from_anywhere(target: Target) -> Target:
    """Return a target whose path means the same on another machine: an absolute one."""
    from viscy_compat.checkpoint.locations import is_address

    return target if is_address(target.path) else target._replace(path=os.path.abspath(target.path))
