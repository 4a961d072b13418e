"""A file that appears whole or not at all.

Everything is written to a temporary file beside the target, which takes the target's place in one step. A run that
dies leaves at most that temporary file; it is locked while its run lives, so the next run can tell and sweeps it.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from functools import partial

from viscy_compat.annotations import TYPE_CHECKING, Iterable, Iterator, Literal
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.errors import OutputRefused

if TYPE_CHECKING:
    from viscy_compat.rewrite.disc_sync import DiscSync

ENDING = ".viscy-compat-tmp"
"""Ending of the temporary files; they also start with a dot."""

BACKUP = ".bak"

IfExists = Literal["refuse", "overwrite", "back up"]
"""What happens to a file that stands at the target: ``back up`` keeps it as ``FILE.bak``."""


class Output:
    """One output file in the making; `open_output` makes it.

    Attributes
    ----------
    path : str
        Where the file shall be.
    temporary : str
        Where it is until `commit`.
    position : int
        Bytes written so far.
    """

    __slots__ = ("_descriptor", "_disc", "_if_exists", "_inputs", "path", "position", "temporary")

    def __init__(self, path: str, if_exists: IfExists, inputs: tuple[FileFacts, ...]) -> None:
        self.path, self._if_exists, self._inputs = path, if_exists, inputs
        self.temporary, self._descriptor = "", -1
        self._disc: DiscSync | None = None
        self.position = 0

    def begin(self) -> None:
        """Make the temporary file beside the target and lock it; a sweeping run may take it away before the lock."""
        folder, name = os.path.split(self.path)
        flags, mode = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666
        for file in self._inputs:
            # who may not read what it is made of may not read the new file; the umask takes from that
            with suppress(OSError):
                mode &= os.stat(file.path).st_mode
        while True:
            # noted before the file is there: an interrupt may come the very moment it is.
            # A name holds 255 bytes and a character up to four of them; ours adds 35
            self.temporary = os.path.join(folder, f".{name[:48]}.{os.urandom(8).hex()}{ENDING}")
            # whoever writes it reads it again
            self._descriptor = os.open(self.temporary, flags, mode | 0o600)
            if _lock(self._descriptor) is not False and os.fstat(self._descriptor).st_nlink:
                break
            os.close(self._descriptor)
            self._descriptor = -1
        if self._if_exists == "back up":
            _become_like(self._descriptor, self.path)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self.position += len(data)
        self.write_at(self.position - len(data), data)

    def skip(self, count: int) -> None:
        """Leave room for bytes that `write_at` puts there."""
        self.position += count

    def write_at(self, position: int, data: bytes | memoryview) -> None:
        """Write bytes to their place; several threads may, where the system has ``pwrite``."""
        nbytes = len(data)
        while data:
            if hasattr(os, "pwrite"):
                count = os.pwrite(self._descriptor, data, position)
            else:
                # Windows; there one thread writes alone
                os.lseek(self._descriptor, position, os.SEEK_SET)
                count = os.write(self._descriptor, data)
            # the system may take less than it is given
            data, position = data[count:], position + count
        if self._disc is not None:
            self._disc.count(nbytes)

    def free_bytes(self) -> int | None:
        """Return how many bytes the disc has left for us; None where the system does not tell."""
        try:
            disc = os.fstatvfs(self._descriptor)
        except (AttributeError, OSError):
            return None
        return disc.f_bavail * disc.f_frsize

    def settle(self) -> None:
        """Let a thread bring the file to the disc while it grows, so that `sync` has little left to wait for."""
        from viscy_compat.rewrite.disc_sync import DiscSync

        self._disc = DiscSync(partial(os.fsync, self._descriptor))

    def begin_sync(self) -> None:
        """Where a thread brings the file to the disc, let it do the rest; nothing may be written any more."""
        if self._disc is not None:
            self._disc.begin_last_round()

    def sync(self) -> None:
        """Wait until the disc has everything."""
        if self._disc is None:
            os.fsync(self._descriptor)
            return
        self._disc.finish()
        self._disc = None

    def commit(self) -> None:
        """Put the file in its place, in one step.

        Raises
        ------
        OutputRefused
            Where another file has appeared at the target, or the backup exists.
        """
        # a hard link fails where the name is taken, even by a file that appeared a moment ago; a rename would replace it
        if self._if_exists == "refuse":
            self._take_free_place()
        else:
            refuse_target(self.path, self._if_exists, self._inputs)
            if self._if_exists == "back up":
                _link(self.path, self.path + BACKUP)
            os.replace(self.temporary, self.path)
        # so that the new name lasts; file systems that cannot do that say so with an error, which changes nothing
        with suppress(OSError):
            folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Remove the temporary file, where it is still there, and let go of the lock."""
        # where it was never made, what kept it from that is being said
        with suppress(FileNotFoundError if self._descriptor >= 0 else OSError):
            os.unlink(self.temporary)
        if self._disc is not None:
            # nobody will see the file, and the thread would wait for what the disc has not yet got of it
            with suppress(OSError):
                if os.fstat(self._descriptor).st_nlink == 0:
                    os.ftruncate(self._descriptor, 0)
            self._disc.stop()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _take_free_place(self) -> None:
        try:
            os.link(self.temporary, self.path)
        except FileExistsError as error:
            raise _exists(self.path) from error
        except OSError:
            # Some file systems have no hard links, and Python no rename that keeps what stands there.
            refuse_target(self.path, "refuse", self._inputs)
            os.rename(self.temporary, self.path)


@contextmanager
def open_output(path: str, if_exists: IfExists, *, inputs: tuple[FileFacts, ...] = ()) -> Iterator[Output]:
    """Open an output; whatever happens, the temporary file is gone afterwards.

    Parameters
    ----------
    path : str
        The target.
    if_exists : {"refuse", "overwrite", "back up"}
        What to do where it exists.
    inputs : tuple[FileFacts, ...], optional
        Files that must not be overwritten, unless backed up.

    Raises
    ------
    OutputRefused
        As `refuse_target`; also for a folder that is read-only, a full disc, a limit on file sizes.
    """
    sweep(os.path.dirname(path) or ".")
    refuse_target(path, if_exists, inputs)
    with _explain(path):
        output = Output(path, if_exists, inputs)
        try:
            output.begin()
            yield output
        finally:
            output.close()


def refuse_target(path: str, if_exists: IfExists, inputs: Iterable[FileFacts] = ()) -> None:
    """Refuse a target that must not be written to; nothing is touched.

    Raises
    ------
    OutputRefused
        The folder does not exist; the target is an input, a link, a folder, a device, or exists where that was not
        allowed for; the backup exists.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OutputRefused("there is no such folder", where=folder, fix="make it, or choose another place")
    status = _status(path)
    if status is None:
        if path.endswith(("/", os.sep)):
            raise OutputRefused("this is a folder's name, not a file's", where=path, fix="give the name of a file")
        return
    if not stat.S_ISREG(status.st_mode):
        raise _no_file(path, status.st_mode)
    if if_exists == "back up":
        backup = _status(path + BACKUP)
        # a hard link to the file itself is what a killed run left: it is no other file
        if backup is not None and (backup.st_dev, backup.st_ino) != (status.st_dev, status.st_ino):
            raise OutputRefused("the backup exists, and is never overwritten", where=path + BACKUP, fix="move it away")
        return
    if any((file.device, file.inode) == (status.st_dev, status.st_ino) for file in inputs):
        raise OutputRefused(
            "the output is the input itself", where=path, fix="choose another name, or --in-place to keep FILE.bak"
        )
    if if_exists == "refuse":
        raise _exists(path)


def sweep(folder: str) -> list[str]:
    """Remove the temporary files of runs that died, and return their names."""
    swept = []
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.path for entry in entries if entry.name[0] == "." and entry.name.endswith(ENDING)]
        for name in names:
            with suppress(OSError):
                flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                descriptor = os.open(name, flags)
                try:
                    # a run that lives holds the lock of its file
                    if _lock(descriptor) is True:
                        os.unlink(name)
                        swept.append(name)
                finally:
                    os.close(descriptor)
    return swept


@contextmanager
def _explain(path: str) -> Iterator[None]:
    """Say in one line what the system refused."""
    try:
        yield
    except OSError as error:
        import errno

        fixes = {
            **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room, or choose another disc"),
            errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another disc",
            **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write to"),
        }
        fix = fixes.get(error.errno or 0, "choose another place")
        raise OutputRefused(f"{error.strerror or str(error)}; nothing was written", where=path, fix=fix) from error


def _become_like(descriptor: int, path: str) -> None:
    """Give a file the mode of the one whose place it takes, and its owner where the system lets us."""
    status = _status(path)
    if status is None or not hasattr(os, "fchown"):
        return
    with suppress(OSError):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    # after the owner: a change of owner takes bits away
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)


def _lock(descriptor: int) -> bool | None:
    """Take the lock of a temporary file: whether that was possible; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise OutputRefused(f"no file can be there ({why})", where=path, fix="choose another name") from error


def _no_file(path: str, mode: int) -> OutputRefused:
    if stat.S_ISLNK(mode):
        return OutputRefused("this is a symbolic link", where=path, fix="name the file that it points to")
    kind = "a folder" if stat.S_ISDIR(mode) else "a fifo" if stat.S_ISFIFO(mode) else "a device or socket"
    return OutputRefused(f"this is {kind}, not a file", where=path, fix="choose another name")


def _exists(path: str) -> OutputRefused:
    return OutputRefused("the file exists", where=path, fix="choose another name, or --force to replace it")


def _link(path: str, backup: str) -> None:
    """Give a file a second name; where the file system has no hard links, the first one goes."""
    try:
        os.link(path, backup)
    except FileExistsError:
        if not os.path.samefile(path, backup):
            raise OutputRefused(
                "the backup exists, and is never overwritten", where=backup, fix="move it away"
            ) from None
    except OSError:
        os.rename(path, backup)
