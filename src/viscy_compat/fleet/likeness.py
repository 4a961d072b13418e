"""Copies of a file that was judged before: a verdict is a function of what was read, so that equal reads give an equal one.

`check` reads some 0.1 MB of a file, and where depends on nothing but its size and what came before. A file of the same size
of which the same places hold the same bytes has the same answer. Labs have many: ``last.ckpt`` beside the epoch that it is,
hard links, backups.
"""

from __future__ import annotations

import os
import shlex
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from viscy_compat.checkpoint.sources import ReadTrace, open_source
from viscy_compat.diagnosis.judgement import target_beside
from viscy_compat.diagnosis.offers import beside
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.target import Target
from viscy_compat.layout import printable, quote_path, quote_word
from viscy_compat.named import NamedTuple

_MOST: Final = 256
"""Answers that a worker keeps, each a few hundred bytes."""
_MOST_READ: Final = 4 << 20
"""Bytes read of a file up to which its answer is kept: reading them again costs less than judging."""
_ENDINGS: Final = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".tar", ".safetensors")
"""What one file is alone; an index, a part or an unpacked file is judged by its neighbours too."""


class _KeptRow(NamedTuple):
    """A row, the words of its next command, and the digest of each read that it rests on."""

    row: AuditRow
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    digest: bytes


class Likeness:
    """What a worker remembers of files that it judged."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[object, ...], _KeptRow] = OrderedDict()

    def find(self, target: Target) -> AuditRow | None:
        """Return the row of a file that is a copy of one that was judged; None where none is known."""
        key = _key_of(target)
        answer = self._answers.get(key) if key else None
        if answer is None:
            return None
        try:
            with open_source(target.path, access="scattered") as source:
                digest = blake2b()
                for start, length in answer.places:
                    digest.update(source.read(start, length))
                source.verify_unchanged()
        except UnreadableCheckpoint:
            return None
        if digest.digest() != answer.digest:
            return None
        return answer.row._replace(
            file=target.path,
            folder="" if os.path.isabs(target.path) else os.getcwd(),
            modified_ns=target.modified_ns,
            inode=target.inode,
            mark=target.mark,
            next=_spell(answer.words, answer.row.file, target.path),
        )

    def remember(self, target: Target, row: AuditRow, trace: ReadTrace) -> None:
        """Keep an answer, where it rests on this file alone and names it nowhere but in its next command."""
        key, words = _key_of(target), tuple(shlex.split(row.next))
        size = sum(len(part) for _, _, part in trace.reads)
        alone = trace.reads and all(path == target.path for path, _, _ in trace.reads)
        if key is None or not alone or size > _MOST_READ:
            return
        own = {target.path, target_beside(target.path)}
        others = [row.message, row.foreign, *(word for word in words if word not in own)]
        # a row that names its file elsewhere than in the next command would name the wrong one of a copy
        if _spell(words, target.path, target.path) != row.next or any(target.path in text for text in others):
            return
        digest = blake2b()
        for _, _, part in trace.reads:
            digest.update(part)
        places = tuple((start, len(part)) for _, start, part in trace.reads)
        self._answers[key] = _KeptRow(row, words, places, digest.digest())
        # the oldest first: copies lie beside each other, and come soon after the first
        while len(self._answers) > _MOST:
            self._answers.popitem(last=False)


def _key_of(target: Target) -> tuple[object, ...] | None:
    """Return what an answer depends on besides what is read; None for what is not judged alone."""
    name = target.path.lower()
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
    if ending is None or name.endswith("data.pkl") or target.mark or not target.size:
        return None
    # of a shard its name tells that it is one; what is printed escaped cannot be told from what a name holds
    if "-of-0" in name or printable(target.path) != target.path:
        return None
    return target.size, ending, target.named, next(beside(target.path), None) is not None


def _spell(words: tuple[str, ...], old: str, new: str) -> str:
    """Return the next command with another file in it."""
    names = {old: new, target_beside(old): target_beside(new)}
    return " ".join(quote_path(names[word]) if word in names else quote_word(word) for word in words)
