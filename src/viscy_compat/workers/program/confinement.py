"""What a worker lets the kernel take away from it, and what it then measures of that.

`enter` comes before the stack is imported, `seal` after it (an import may write byte code, and start threads), and
`measured` says what is in force: not what was asked for, but what a try came to. Everything here is by system calls
that an ordinary user may make on Linux; elsewhere, or where a container forbids them, less is in force and said.

It imports the standard library alone and nothing of this program, so that a test can load it as a file.
No package is used for Landlock: a worker runs in any interpreter, and its three calls are a screen of this file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import sys
import sysconfig
from typing import Any, Iterator

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_SLAVE = 1 << 12, 1 << 14, 1 << 19
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 444, 445, 446
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
_CAPABILITY_VERSION = 0x20080522

EXECUTE, WRITE_FILE, TRUNCATE, REFER = 1 << 0, 1 << 1, 1 << 14, 1 << 13
CHANGES = sum(1 << bit for bit in range(4, 13))
"""Landlock's rights to remove and to make files, folders, links, sockets and devices."""

_ELSEWHERE = ("192.0.2.1", 9)
"""An address that is reserved for documents: no packet is sent, only the route to it is looked up."""


class Confinement:
    """The layers that a worker has put around itself."""

    def __init__(self) -> None:
        self.network = self.mounts = False
        self.layers: list[str] = []

    def enter(self) -> None:
        """Enter namespaces for the network and for mounts; a process with threads could not do so any more."""
        if not sys.platform.startswith("linux"):
            return
        # some containers allow the one and not the other: no network is worth most
        for flags in (CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC, CLONE_NEWNET):
            if _unshare(CLONE_NEWUSER | flags):
                self.network, self.mounts = True, bool(flags & CLONE_NEWNS)
                return

    def seal(self, folder: str) -> None:
        """Make every file read-only but for those of one folder, and give up the means to undo that."""
        if not sys.platform.startswith("linux"):
            return
        if self.mounts and _read_only_but(folder):
            self.layers.append("mount namespace")
        libc = _libc()
        # what the user namespace gave, for this process and for any program that it might still start; the kernel has 41
        # kinds, and numbers behind the last one are refused without harm
        for capability in range(64):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        if hasattr(libc, "capset"):
            libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24))
        # Landlock takes an ordinary user only with this: no program may give it rights that it does not have
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _landlock(folder):
            self.layers.append("Landlock")

    def measured(self, folder: str) -> Iterator[str]:
        """Say what is in force, by trying."""
        away = self.network and not _finds_a_route()
        yield "no network (namespace)" if away else "network blocked in Python alone"
        yield from self._files(folder)
        yield "no other process in sight (PID namespace)" if _is_alone() else "other processes in sight"
        started = _can_start_programs()
        yield "new processes blocked in Python alone" if started else "no new programs (Landlock)"

    def _files(self, folder: str) -> Iterator[str]:
        open_places = [name for name, place in _places().items() if _can_write(place)]
        if open_places:
            yield f"writable: {', '.join(open_places)}"
        elif self.layers:
            yield f"files read-only but for its own folder ({', '.join(self.layers)})"
        else:
            yield "home and site-packages not writable"
        if not _can_write(folder):
            yield "its own folder not writable"


# --- namespaces --------------------------------------------------------------------------------------------------


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> bool:
    user, group = os.getuid(), os.getgid()
    try:
        if _libc().unshare(flags) != 0:
            return False
    except (OSError, AttributeError):
        return False
    for path, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        # identities that are not mapped are shown as nobody; the namespaces are there all the same
        with contextlib.suppress(OSError), open(f"/proc/self/{path}", "w") as stream:
            stream.write(text)
    return True


def _read_only_but(folder: str) -> bool:
    """Make all mounts read-only in this namespace, but for a folder, which becomes a mount of its own."""
    libc, path = _libc(), os.fsencode(folder)
    # else what is mounted here would be mounted outside, too
    libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None)
    if libc.mount(path, path, None, MS_BIND, None) != 0:
        return False
    # the folder that this process stands in is still the one below the new mount
    os.chdir(folder)
    if not _set_mount(b"/", AT_RECURSIVE, attributes=MOUNT_ATTR_RDONLY):
        return False
    return _set_mount(path, 0, clear=MOUNT_ATTR_RDONLY)


def _set_mount(path: bytes, flags: int, *, attributes: int = 0, clear: int = 0) -> bool:
    change = struct.pack("=QQQQ", attributes, clear, 0, 0)
    done: int = _libc().syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, change, ctypes.c_size_t(len(change)))
    return done == 0


# --- Landlock ----------------------------------------------------------------------------------------------------


def _landlock(folder: str) -> bool:
    """Let the kernel refuse changes outside a folder, programs, connections, and signals to strangers."""
    libc = _libc()
    version: int = libc.syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    # rights came with versions: 2 moves between folders, 3 truncation, 4 TCP, 6 abstract sockets and signals; a kernel
    # refuses those that it does not know
    handled = EXECUTE | WRITE_FILE | CHANGES | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    network, scope = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = struct.pack("=QQQ", handled, network, scope)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules: int = libc.syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        _allow(rules, folder, handled & ~EXECUTE)
        _allow(rules, os.devnull, handled & (WRITE_FILE | TRUNCATE))
        done: int = libc.syscall(SYS_LANDLOCK_RESTRICT, rules, 0)
        return done == 0
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _libc().syscall(SYS_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


# --- measuring ---------------------------------------------------------------------------------------------------


def _places() -> dict[str, str]:
    """Return the folders that matter most to whoever runs this, and that old code has no business in."""
    home = ""
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        home = pwd.getpwuid(os.getuid()).pw_dir
    places = {"home": home, "site-packages": sysconfig.get_paths()["purelib"], "/tmp": "/tmp"}
    return {name: place for name, place in places.items() if place}


def _can_write(folder: str) -> bool:
    """Try to make a file, and remove it."""
    path = os.path.join(folder, f".viscy-compat-{os.getpid()}-try")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return False
    with contextlib.suppress(OSError):
        os.unlink(path)
    return True


def _finds_a_route() -> bool:
    """Ask the kernel itself for a way to an address: what Python refuses is no measure of it."""
    libc = _libc()
    try:
        descriptor: int = libc.socket(2, 2, 0)
    except (OSError, AttributeError):
        return True
    if descriptor < 0:
        return False
    try:
        host, port = _ELSEWHERE
        address = struct.pack("=H", 2) + struct.pack("!H", port) + bytes(map(int, host.split("."))) + bytes(8)
        return bool(libc.connect(descriptor, address, len(address)) == 0)
    finally:
        os.close(descriptor)


def _is_alone() -> bool:
    """Whether ``/proc`` shows this process and the one that waits for it, and no other."""
    try:
        seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except OSError:
        return False
    return seen == {1, os.getpid()}


def _can_start_programs() -> bool:
    """Try to start the least of all programs; where it can be started, it ends at once."""
    libc = _libc()
    if not hasattr(libc, "posix_spawn") or not sys.platform.startswith("linux"):
        return True
    process = ctypes.c_int()
    words = (ctypes.c_char_p * 2)(b"/bin/true", None)
    code: int = libc.posix_spawn(ctypes.byref(process), words[0], None, None, words, None)
    if code == 0:
        with contextlib.suppress(OSError):
            os.waitpid(process.value, 0)
    return code != errno.EACCES
