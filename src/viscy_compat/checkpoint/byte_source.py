"""Bounded reads of one descriptor.

Nothing is mapped into memory unless a caller asks for it: a file that is cut while mapped kills the process. The
descriptor is looked at before and after, so that a file that changes while it is read is refused.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING, Iterator, Literal
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.regular_files import NotOpened, open_regular

if TYPE_CHECKING:
    from mmap import mmap

CHUNK = 1 << 20
"""Bytes of one read: larger ones are no faster, smaller ones are slower (measured against ``cp``)."""

Access = Literal["scattered", "running"]
"""How a file is going to be read: a few places of it, where reading ahead is waste, or from one end to the other."""


class ByteSource:
    """One regular file, open for reading; a context manager.

    Parameters
    ----------
    path : str
        The file.
    same_as : FileFacts, optional
        What the file was when it was first read; anything else is refused.
    access : {"running", "scattered"}, optional
        For ``scattered`` the system is told not to read ahead: of a trained file of 342 MB, cold, that takes 0.2 MB
        from the disc instead of some tens.

    Raises
    ------
    UnreadableCheckpoint
        VC401: no such file, a folder, a fifo, a device, no permission. VC402: it changed.
    """

    __slots__ = ("_descriptor", "_kept", "bytes_read", "facts", "path", "size")

    most_at_once = CHUNK

    def __init__(self, path: str, *, same_as: FileFacts | None = None, access: Access = "running") -> None:
        self.path = path
        self.bytes_read = 0
        self._kept: list[tuple[int, bytes]] = []
        self._descriptor = _open(path)
        if access == "scattered" and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        try:
            self.facts = self._look()
            if same_as is not None and self.facts != same_as:
                raise changed_file(path)
        except BaseException:
            self.close()
            raise
        self.size = self.facts.size

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; twice is once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`.

        Raises
        ------
        UnreadableCheckpoint
            VC402 where the file has become shorter or cannot be read; VC403 where it was never that long.
        """
        if start < 0 or length < 0 or start + length > self.size:
            raise UnreadableCheckpoint(
                f"the file ends at byte {self.size}, but bytes {start} to {start + length} are needed",
                where=self.path,
                fix="the download was probably cut: fetch it again",
                code="VC403",
            )
        # what was kept answers whole or in part, and the rest is read
        for first, piece in self._kept:
            if first <= start and start + length <= first + len(piece):
                return piece[start - first : start - first + length]
            if first <= start < first + len(piece):
                near = piece[start - first :]
                return near + self.read(start + len(near), length - len(near))
            if first < start + length <= first + len(piece):
                return self.read(start, first - start) + piece[: start + length - first]
        return self._read_anew(start, length)

    def keep(self, start: int, length: int) -> None:
        """Read a range in one piece, and answer from it what `read` is asked for later."""
        if not self.has_kept(start, length):
            self._kept.append((start, self.read(start, length)))

    def kept_ranges(self) -> list[tuple[int, int]]:
        """Return first byte and end of what was kept."""
        return [(first, first + len(piece)) for first, piece in self._kept]

    def has_kept(self, start: int, length: int) -> bool:
        """Say whether a range lies in one that was kept: it costs no read."""
        return any(first <= start and start + length <= first + len(piece) for first, piece in self._kept)

    def _read_anew(self, start: int, length: int) -> bytes:
        parts = []
        while length:
            part = self._read_some(start, min(length, self.most_at_once))
            parts.append(part)
            start += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, start: int, length: int, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the bytes of a range in pieces of at most `size` bytes."""
        for offset in range(start, start + length, size):
            yield self.read(offset, min(size, start + length - offset))

    def read_into(self, memory: memoryview, start: int) -> None:
        """Fill memory with the bytes from `start`; raises as `read` does.

        What was kept is not looked at: this is for long runs, read once, into memory that is used again and again.
        """
        # not every system has preadv; what lies outside is refused by `read`, in its words
        if start < 0 or start + len(memory) > self.size or not hasattr(os, "preadv"):
            memory[:] = self.read(start, len(memory))
            return
        while memory:
            count = self._read_some_into(memory, start)
            memory, start = memory[count:], start + count

    def memory_map(self) -> mmap:
        """Return the file as memory; what is written there stays there, and reaches no file.

        Where the file is cut afterwards, touching the memory ends the process.
        """
        from mmap import ACCESS_COPY, mmap

        return mmap(self._descriptor, self.size, access=ACCESS_COPY)

    def verify_unchanged(self) -> None:
        """Raise VC402 where the file is no longer what it was when it was opened."""
        # of the open file: one that took its place under the same name is another file, and not what was read
        if self._look() != self.facts:
            raise changed_file(self.path)

    def _read_some(self, start: int, length: int) -> bytes:
        try:
            part = _read_at(self._descriptor, length, start)
        except OSError as error:
            raise self._failure(start, error) from error
        # nothing where the size promised something: it was cut meanwhile
        if not part:
            raise changed_file(self.path)
        self.bytes_read += len(part)
        return part

    def _read_some_into(self, memory: memoryview, start: int) -> int:
        try:
            count = os.preadv(self._descriptor, (memory,), start)
        except OSError as error:
            raise self._failure(start, error) from error
        if not count:
            raise changed_file(self.path)
        self.bytes_read += count
        return count

    def _failure(self, start: int, error: OSError) -> UnreadableCheckpoint:
        return UnreadableCheckpoint(
            f"byte {start} cannot be read ({error.strerror})",
            where=self.path,
            fix="copy the file to another disc and try again",
            code="VC402",
        )

    def _look(self) -> FileFacts:
        status = os.fstat(self._descriptor)
        return FileFacts(
            path=self.path,
            size=status.st_size,
            device=status.st_dev,
            inode=status.st_ino,
            modified_ns=status.st_mtime_ns,
        )


class ByteWindow:
    """A part of a file that is read like a file of its own: the archives within a ``.distcp``.

    Parameters
    ----------
    source : ByteSource
        The file.
    start, size : int
        The part, which must lie in the file.
    """

    __slots__ = ("_source", "facts", "path", "size", "start")

    def __init__(self, source: ByteSource, start: int, size: int) -> None:
        self._source, self.start, self.size = source, start, size
        self.facts, self.path = source.facts, source.path

    def read(self, start: int, length: int) -> bytes:
        """Return bytes as `ByteSource.read`, counted from the beginning of the part."""
        if start < 0 or length < 0 or start + length > self.size:
            raise UnreadableCheckpoint(
                f"a part of the file ends at its byte {self.size}, but bytes {start} to {start + length} are needed",
                where=self.path,
                fix="copy the whole folder again",
                code="VC403",
            )
        return self._source.read(self.start + start, length)

    def keep(self, start: int, length: int) -> None:
        """Keep a range as `ByteSource.keep`, counted from the beginning of the part."""
        self._source.keep(self.start + start, length)

    def kept_ranges(self) -> list[tuple[int, int]]:
        """Return what was kept as `ByteSource.kept_ranges`, counted from the beginning of the part."""
        return [(first - self.start, end - self.start) for first, end in self._source.kept_ranges()]

    def has_kept(self, start: int, length: int) -> bool:
        """Say whether a range lies in one that was kept, as `ByteSource.has_kept`."""
        return self._source.has_kept(self.start + start, length)


def changed_file(path: str) -> UnreadableCheckpoint:
    """Return the error for a file that changed while it was read.

    Examples
    --------
    >>> changed_file("a.ckpt").code
    'VC402'
    """
    return UnreadableCheckpoint(
        "the file changed while it was read",
        where=path,
        fix="wait until the run that writes it has ended, then try again",
        code="VC402",
    )


def _open(path: str) -> int:
    try:
        return open_regular(path)
    except NotOpened as error:
        if error.fix == "check the path":
            raise unopened_path(path, error.reason) from error
        raise UnreadableCheckpoint(error.reason, where=path, fix="give a checkpoint file", code="VC401") from error


def unopened_path(path: str, reason: str) -> UnreadableCheckpoint:
    """Return the error for a path that cannot be opened: an address, a pattern, a link to nothing, or just no file.

    Examples
    --------
    >>> print(unopened_path("hf://czbiohub/viscy/last.ckpt", "No such file or directory").fix)
    fetch the file first: hf download czbiohub/viscy last.ckpt
    """
    from viscy_compat.checkpoint.paths import explain_path

    what, fix = explain_path(path, reason)
    return UnreadableCheckpoint(what, where=path, fix=fix, code="VC401")


def _read_at(descriptor: int, length: int, start: int) -> bytes:
    # Windows has no pread
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, start)
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, length)
