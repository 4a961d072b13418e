"""The one place where files of a user are opened for reading: regular ones, of a bounded size, without waiting."""

from __future__ import annotations

import os
import stat

from viscy_compat.annotations import IO, Iterable, Iterator, Sequence
from viscy_compat.errors import CompatError, OutputRefused, UsageError


class NotOpened(Exception):
    """A path that stands for no regular file that can be read: what it is, and what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        self.reason, self.fix = reason, fix
        super().__init__(reason)


_rooms: tuple[str, ...] = ()
"""Real paths of the folders that files may lie in; empty where they may lie anywhere."""


class Rooms:
    """Refuses, while it is entered, what a link leads to outside of some folders: none of it is opened.

    Parameters
    ----------
    folders : Iterable[str]
        The folders; none of them allows everything.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._own = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)

    def __enter__(self) -> None:
        global _rooms
        self._own, _rooms = _rooms, self._own

    def __exit__(self, *_: object) -> None:
        global _rooms
        self._own, _rooms = _rooms, self._own


def leads_out(path: str) -> bool:
    """Say whether a path leads, by links, out of the folders of `Rooms`."""
    return bool(_rooms) and not os.path.realpath(path).startswith(_rooms)


def open_regular(path: str) -> int:
    """Return a descriptor of a regular file, open for reading. Devices, fifos and sockets are not even opened.

    Raises
    ------
    NotOpened
        There is none, it may not be read, it is a folder, a fifo, a socket or a device, or lies outside of the folders
        of `Rooms`.
    """
    if leads_out(path):
        raise NotOpened("this is a link out of the folders given", "add --follow where that is meant")
    # O_NONBLOCK: opening a fifo without a writer would wait for one for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        mode = os.stat(path).st_mode
        descriptor = os.open(path, flags) if stat.S_ISREG(mode) else -1
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid file name"
        raise NotOpened(reason, "check the path") from error
    # it may have become something else in between
    mode = os.fstat(descriptor).st_mode if descriptor >= 0 else mode
    if not stat.S_ISREG(mode):
        if descriptor >= 0:
            os.close(descriptor)
        raise NotOpened(f"this is {_kind_of(mode)}, not a file", "give a file")
    return descriptor


def open_file(path: str, fix: str = "", *, error: type[CompatError] = UsageError) -> IO[bytes]:
    """Return a regular file, open for reading.

    Raises
    ------
    CompatError
        Of the given type, with this way out of it: there is none, or it may not be read.
    """
    try:
        return open(open_regular(path), "rb")
    except NotOpened as problem:
        raise error(problem.reason, where=path, fix=fix or problem.fix) from problem


def open_to_append(path: str) -> IO[bytes]:
    """Return a regular file, open for reading and for writing at its end; it is made where there is none.

    Raises
    ------
    NotOpened
        It is a folder, a fifo, a socket or a device.
    OSError
        It can neither be opened nor made.
    """
    if os.path.exists(path) and not stat.S_ISREG(mode := os.stat(path).st_mode):
        raise NotOpened(f"this is {_kind_of(mode)}, not a file", "give a file")
    return open(path, "a+b")


def open_fifo(path: str) -> int | None:
    """Return a descriptor of a fifo that somebody reads; None where a path stands for anything else.

    Raises
    ------
    OSError
        Nobody reads it: who opened it for writing would wait without end.
    """
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            return None
    except (OSError, ValueError):
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, "nobody reads this fifo") from error


def lines_of(file: IO[bytes], most: int, path: str) -> Iterator[bytes]:
    """Yield the lines of a file, none of which is held where it is longer than a line can be.

    Raises
    ------
    UsageError
        A line has more than `most` bytes, or cannot be read.

    Examples
    --------
    >>> import io
    >>> list(lines_of(io.BytesIO(b"a\\nb"), 2, "a.txt"))
    [b'a\\n', b'b']
    """
    try:
        while line := file.readline(most + 1):
            if len(line) > most:
                raise UsageError(f"a line has more than {most} bytes", where=path, fix="check the path")
            yield line
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=path, fix="check the path") from error


def read_small(path: str, most: int, what: str, *, error: type[CompatError] = UsageError) -> bytes:
    """Return all bytes of a regular file that is not large.

    Parameters
    ----------
    path : str
        The file.
    most : int
        Bytes that such a file has at most; a larger one is refused before any of it is read.
    what : str
        What the file should be, for the message: ``"a training configuration"``.
    error : type[CompatError], optional
        What is raised.

    Raises
    ------
    CompatError
        Of the given type: no regular file, not readable, too large.

    Examples
    --------
    >>> read_small("/nowhere/at/all", 10, "a plan")
    Traceback (most recent call last):
    viscy_compat.errors.UsageError: /nowhere/at/all: No such file or directory; check the path
    """
    try:
        with open_file(path, error=error) as file:
            # read by the stated size and one byte more: a file that grows meanwhile is too large as well
            size = os.fstat(file.fileno()).st_size
            data = file.read(most + 1) if size <= most else b""
    except OSError as problem:
        raise error(problem.strerror or str(problem), where=path, fix="check the path") from problem
    if size > most or len(data) > most:
        raise error(f"{max(size, most + 1)} bytes are too many for {what}", where=path, fix=f"at most {most} are read")
    return data


def _kind_of(mode: int) -> str:
    for test, kind in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a fifo"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return kind
    return "a device"


def refuse_collisions(outputs: Sequence[str], inputs: Iterable[str]) -> None:
    """Refuse to write to a file that is read, or twice to one; nothing is touched.

    Raises
    ------
    OutputRefused
        Where an output is an input or another output, by whatever name; pipes and devices hold more than one.
    """
    taken = [path for path in inputs if os.path.isfile(path)]
    for place, path in enumerate(outputs):
        if os.path.exists(path) and not os.path.isfile(path):
            continue
        if any(_is_same(path, other) for other in taken):
            raise OutputRefused("this is an input, and inputs stay as they are", where=path, fix="choose another name")
        if any(_is_same(path, other) for other in outputs[:place]):
            raise OutputRefused("two outputs would be this file", where=path, fix="choose another name for one of them")


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return os.path.abspath(path) == os.path.abspath(other)
