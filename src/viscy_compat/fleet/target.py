"""One file to judge, as it was when it was listed."""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from typing import Final

from viscy_compat.checkpoint.locations import is_address, public_name, without_secrets
from viscy_compat.checkpoint.sources import open_source
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import NamedTuple


class Target(NamedTuple):
    """One file, folder or address to judge, whether the user named it, and what decides whether a result is still fresh.

    ``mark`` stands for everything that belongs to a checkpoint of several files, or is the version of an address.
    """

    path: str
    named: bool
    size: int = 0
    modified_ns: int = 0
    inode: int = 0
    mark: str = ""


def target_of(path: str, *, named: bool) -> Target:
    """Look at a path without opening it; what is not there is a target all the same, and its row will say so."""
    if is_address(path):
        return Target(path, named)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Target(path, named)
    if stat.S_ISDIR(status.st_mode):
        size, mark = _content(path)
        return Target(path, named, size=size, modified_ns=status.st_mtime_ns, inode=status.st_ino, mark=mark)
    # an index stays as it is while a shard beside it changes
    mark = _content(os.path.dirname(path) or ".")[1] if path.lower().endswith(".index.json") else ""
    return Target(path, named, size=status.st_size, modified_ns=status.st_mtime_ns, inode=status.st_ino, mark=mark)


NO_ANSWER: Final = "no answer"
"""The mark of an address that cannot be read now: no version is called that."""


def probe(target: Target) -> Target:
    """Return an address with the size and version that its server states; one that does not answer is never fresh."""
    try:
        with open_source(public_name(target.path), access="scattered") as source:
            return target._replace(size=source.size, mark=source.facts.version)
    except UnreadableCheckpoint:
        return target._replace(mark=NO_ANSWER)


def _content(folder: str) -> tuple[int, str]:
    """Return the bytes of the files of a checkpoint that is a folder, and a mark that changes with any of them."""
    total, mark = 0, blake2b(digest_size=8)
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            total += status.st_size
            mark.update(f"{name!a} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
    return total, mark.hexdigest()


def freshness(target: Target, tool: str, options: str) -> int:
    """Return a number that is the same as long as a file and what is asked of it are: eight bytes a file are remembered."""
    path = without_secrets(target.path) if is_address(target.path) else os.path.abspath(target.path)
    facts = (path, target.size, target.modified_ns, target.inode, target.mark, tool, options)
    return int.from_bytes(blake2b(repr(facts).encode("utf-8", "backslashreplace"), digest_size=8).digest(), "little")
