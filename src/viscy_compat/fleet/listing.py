"""What an audit looks at: files, checkpoints below folders, lists of them and addresses, in the order given."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from typing import IO, Literal

from viscy_compat.checkpoint.locations import is_address
from viscy_compat.diagnosis.folder_walk import SUFFIXES, checkpoints_below
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside, ClosedFolder
from viscy_compat.fleet.distant import objects_below
from viscy_compat.fleet.target import Target, target_of
from viscy_compat.regular_files import Rooms, leads_out, open_file

Links = Literal["stay", "follow"]

_MOST_LINE = 1 << 16
"""Bytes of one line of a list: no path of any system is longer."""


def expand_lists(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, with ``-`` replaced by the lines of stdin and ``@FILE`` by those of a file; NUL may end lines too.

    Lines that hold nothing but blanks are passed over, as is the mark that Windows puts in front of UTF-8.

    Raises
    ------
    UsageError
        Where a list cannot be read, a line is longer than any path, or a path is empty.
    """
    for path in paths:
        if path == "-":
            yield from _lines(sys.stdin.buffer, "stdin")
        elif path.startswith("@"):
            with open_file(path[1:], f"a file of that name is meant by ./{path}") as file:
                yield from _lines(file, path[1:])
        elif not path:
            raise UsageError("an empty path was given", fix="name files or folders")
        else:
            yield path


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    rest, is_first, end = b"", True, b"\n"
    while block := _read_block(file, name):
        text = rest + (block.removeprefix(BOM_UTF8) if is_first else block)
        # no path is empty, and a terabyte of zeros would never end
        strange = "this is no list of paths" if b"\0\0" in text else ""
        if is_first and text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            strange = "this list is written in UTF-16, as older PowerShells do; UTF-8 is read"
        # a name may hold a newline, which is why lists end their names by NUL; a block is longer than any name
        if is_first and b"\0" in text:
            end = b"\0"
        is_first = False
        *lines, rest = text.split(end)
        if len(rest) >= _MOST_LINE:
            strange = f"a line has more than {_MOST_LINE} bytes"
        if strange:
            raise UsageError(strange, where=name, fix="one path a line is expected")
        yield from (os.fsdecode(line) for line in _paths_in(lines, end))
    yield from (os.fsdecode(line) for line in _paths_in([rest], end))


def _paths_in(lines: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    # blanks in front of a name and behind it may belong to it, and so does whatever stands between two NULs
    return (line for line in lines if line) if end == b"\0" else (line.rstrip(b"\r") for line in lines if line.strip())


def _read_block(file: IO[bytes], name: str) -> bytes:
    try:
        return file.read(_MOST_LINE)
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=name, fix="one path a line is expected") from error


def rooms_of(paths: Iterable[str], links: Links) -> tuple[str, ...]:
    """Return the folders that files may lie in: those given, and those of the files given; none where links are followed."""
    if links == "follow":
        return ()
    rooms: dict[str, None] = {}
    for path in paths:
        if not is_address(path):
            folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
            real = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path))
            rooms.update({os.path.realpath(folder): None, os.path.realpath(real): None})
    return tuple(rooms)


def targets_of(paths: Iterable[str], links: Links, aside: list[Aside]) -> Iterator[Target]:
    """Yield what is to be judged, each once; what is passed over is added to `aside`.

    Links that lead out of the folders given are passed over unless they are to be followed.
    """
    visited: set[int] = set()
    for path in paths:
        for target in _below(path, links, aside):
            # eight bytes a file: a hundred thousand paths would be ten megabytes
            place = hash(target.path if is_address(target.path) else os.path.abspath(target.path))
            if place not in visited:
                visited.add(place)
                yield target


def _below(path: str, links: Links, aside: list[Aside]) -> Iterator[Target]:
    if path.lower().startswith(("s3://", "hf://")) and path.endswith("/"):
        yield from objects_below(path, aside)
        return
    if is_address(path) or not os.path.isdir(path):
        yield target_of(path, named=True)
        return
    resources: list[str] = []
    unseen: dict[str, str] = {}
    count = 0
    with Rooms([path] if links == "stay" else []):
        for place in checkpoints_below(path, resources, links, unseen):
            count += 1
            if os.path.islink(place) and leads_out(place):
                aside.append(Aside(place, "a link out of the folder, which is not followed (--follow)"))
            else:
                yield target_of(place, named=False)
        for folder, why in unseen.items():
            if why:
                aside.append(ClosedFolder(folder, f"this folder cannot be listed ({why})"))
            # what would lie in it: a link to the folder that was given leads back in
            elif leads_out(os.path.join(folder, "any")):
                aside.append(Aside(folder, "a link to a folder out of this one, which is not followed (--follow)"))
    if not count:
        aside.append(Aside(path, f"no checkpoint below this folder (looked for {', '.join(SUFFIXES)})"))
    if resources:
        aside.append(Aside(path, f"resource files that a Mac left are skipped: {len(resources)}"))


class TargetSpool:
    """Targets in a file of its own, so that their number is known before the first is judged; a context manager."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self.count = 0
        # a hundred thousand rows are 10 MB, on the disc beyond the first two
        self._file = tempfile.SpooledTemporaryFile(max_size=2 << 20)  # noqa: SIM115 (closed by __exit__)
        for target in targets:
            self._file.write(json.dumps(tuple(target)).encode("ascii") + b"\n")
            self.count += 1

    def __enter__(self) -> TargetSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Target]:
        self._file.seek(0)
        for line in self._file:
            yield Target(*json.loads(line))
