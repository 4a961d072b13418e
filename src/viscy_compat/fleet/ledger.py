"""The ledger of an audit: a JSON object a line, appended as files are judged, from which a later run goes on."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import pairwise
from typing import IO, Final

from viscy_compat.checkpoint.locations import is_address, without_secrets
from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.fleet.row import PASSING, AuditRow, row_in
from viscy_compat.fleet.target import Target, freshness, probe
from viscy_compat.regular_files import NotOpened, lines_of, open_file, open_to_append

_TEMPORARY: Final = ".viscy-compat-tmp"

_BEGINNING: Final = b'{"schema":1,'
"""Of each row: half of one that is shorter or goes on otherwise is something else's, and stays."""

MOST_LINE: Final = 1 << 20
"""Bytes of one row: its file, message and next command are a few thousand characters, escaped six bytes each."""


class Ledger:
    """One ledger, open and locked; a context manager.

    Parameters
    ----------
    path : str
        The file; it is made where there is none.

    Raises
    ------
    UsageError
        Where the file is something else, or another run writes it.
    OutputRefused
        Where it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fresh: dict[int, int] = {}
        self._replaced = False
        self._places: set[int] = set()
        # a link to a ledger goes on leading there
        self._place = os.path.realpath(path)
        self._open()
        try:
            self._lock()
            # one that another run has put in order meanwhile has no name any more
            while not os.path.samestat(os.stat(self._place), os.fstat(self._file.fileno())):
                self.close()
                self._open()
                self._lock()
            self._end = self._read()
        except OSError as error:
            self.close()
            raise _refuse_place(path, error) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._file = open_to_append(self._place)
            # what is written is there at once or not at all: nothing is left to write for who closes it on a full disc
            self._out = open(self._place, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise _refuse_place(self.path, error) from error
        except NotOpened as problem:
            raise UsageError(problem.reason, where=self.path, fix="give --ledger the name of a file") from problem

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; twice is once."""
        self._file.close()
        self._out.close()

    def find(self, target: Target, tool: str, options: str) -> int | None:
        """Return where the row of a file stands, if it was judged by this version, with these options, as it is now.

        Of an address its server is asked: one request, where an earlier run judged it.
        """
        if is_address(target.path):
            if _number(without_secrets(target.path)) not in self._places:
                return None
            target = probe(target)
        return self._fresh.get(freshness(target, tool, options))

    def append(self, line: bytes, row: AuditRow) -> int:
        """Write a row, and return where it stands."""
        place, rest = self._end, line
        try:
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError as error:
            # half a row is none
            with suppress(OSError):
                self._out.truncate(place)
            raise _refuse_place(self.path, error) from error
        self._end += len(line)
        self._note(row, place)
        return place

    def sort(self, places: array[int], folders: Iterable[str] = ()) -> str:
        """Write the ledger anew in an order, where rows stand in another one or were replaced; other rows come after.

        Where there is no room for it, or none may be made beside the ledger, it stays as it is, and the reason is returned.
        It is the last that a run does: afterwards rows are read by `places` alone, and none is found or appended.

        Parameters
        ----------
        places : array
            Where the rows of a run stand; they are changed to where these stand afterwards.
        folders : Iterable[str], optional
            What was listed: rows of files that are no longer there are left out.
        """
        gone = self._gone(places, folders)
        if gone or self._replaced or any(one > other for one, other in pairwise(places)):
            try:
                self._rewrite(places, gone)
            except OSError as error:
                return error.strerror or str(error)
        return ""

    def _gone(self, places: array[int], folders: Iterable[str]) -> set[int]:
        """Return which files of earlier runs should lie in folders, and do not any more."""
        inside = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)
        if not inside or len(self._places) == len(places):
            return set()
        self._file.seek(0)
        known = set(places)
        others = (row.place for start, row in _rows_in(self._file, self.path) if start not in known)
        return {_number(place) for place in others if place.startswith(inside) and not os.path.lexists(place)}

    def _rewrite(self, places: array[int], gone: set[int]) -> None:
        place, files, moved = self._place + _TEMPORARY, set(), array("q")
        try:
            with open(place, "wb") as out:
                for start in places:
                    files.add(_number(self.row(start).place))
                    moved.append(out.tell())
                    out.write(self._line_at(start))
                out.writelines(map(self._line_at, self._others(files | gone)))
                out.flush()
                os.fchmod(out.fileno(), os.fstat(self._file.fileno()).st_mode & 0o777)
                os.fsync(out.fileno())
            os.replace(place, self._place)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(place)
        places[:] = moved
        self.close()
        self._open()

    def _others(self, files: set[int]) -> list[int]:
        """Return where the last rows of other files stand."""
        self._file.seek(0)
        last = {_number(row.place): start for start, row in _rows_in(self._file, self.path)}
        return [start for number, start in last.items() if number not in files]

    def _line_at(self, place: int) -> bytes:
        self._file.seek(place)
        return self._file.readline()

    def row(self, place: int) -> AuditRow:
        """Return the row that stands at a place."""
        row = row_in(self._line_at(place))
        if row is None:
            raise UsageError("the ledger was changed by something else", where=self.path, fix="run the audit again")
        return row

    def _note(self, row: AuditRow, place: int) -> None:
        if PASSING.isdisjoint(row.codes):
            self._fresh[freshness(row.target, row.tool, row.options)] = place
        file = _number(row.place)
        self._replaced = self._replaced or file in self._places
        self._places.add(file)

    def _read(self) -> int:
        """Learn what the ledger holds, and return where it ends; half a line of a killed run is taken off."""
        self._file.seek(0)
        place = 0
        for number, line in enumerate(lines_of(self._file, MOST_LINE, self.path), 1):
            row = row_in(line) if line.endswith(b"\n") else None
            if row is not None:
                self._note(row, place)
            elif line.endswith(b"\n") or not (line.startswith(_BEGINNING) or _BEGINNING.startswith(line)):
                raise UsageError(
                    f"line {number} is no row of an audit",
                    where=self.path,
                    fix="give --ledger another name: nothing of this file was changed",
                )
            else:
                self._file.truncate(place)
                return place
            place += len(line)
        return place

    def _lock(self) -> None:
        """Let no second run write the same ledger, where the system has such locks."""
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock
        except ImportError:
            return
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "another audit writes this ledger", where=self.path, fix="wait for it, or choose another --ledger"
            ) from error
        except OSError:
            # some file systems of clusters have no locks: then there is none
            return


def usual_ledger(paths: Iterable[str]) -> str:
    """Return where the ledger of an audit of these paths lies unless another place is named: in the folder for caches.

    Never beside the files: an audit writes nothing there.
    """
    from viscy_compat.old_code.wheel import cache_folder

    names = "\0".join(without_secrets(path) if is_address(path) else os.path.abspath(path) for path in paths)
    folder = os.path.join(cache_folder(), "audits")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise _refuse_place(folder, error) from error
    return os.path.join(folder, f"{_number(names):016x}.jsonl")


def latest_rows(path: str) -> Iterator[AuditRow]:
    """Yield the last row of each file of a ledger, in its order.

    Raises
    ------
    UsageError
        Where there is no such file, or a line is no row; half a line at the end is passed over.
    """
    try:
        with open_file(path, "give the ledger of an audit") as file:
            last = {_number(row.place): place for place, row in _rows_in(file, path)}
            file.seek(0)
            yield from (row for place, row in _rows_in(file, path) if last[_number(row.place)] == place)
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=path, fix="give the ledger of an audit") from error


def _rows_in(file: IO[bytes], path: str) -> Iterator[tuple[int, AuditRow]]:
    place = 0
    for line in lines_of(file, MOST_LINE, path):
        row = row_in(line)
        if row is None and line.endswith(b"\n"):
            raise UsageError("this is no ledger of an audit", where=path, fix="give the file of audit --ledger")
        if row is not None:
            yield place, row
        place += len(line)


def _number(file: str) -> int:
    return int.from_bytes(blake2b(file.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "little")


def _refuse_place(path: str, error: OSError) -> OutputRefused:
    return OutputRefused(error.strerror or str(error), where=path, fix="choose another place with --ledger")
