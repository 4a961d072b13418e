"""A small program between the parent and a worker: whatever the worker starts ends with it, and so does what it left.

``python -I launcher.py FOLDER COMMAND...`` runs the command as the first process but one of a PID namespace of its own,
where the kernel gives one to an ordinary user: the kernel ends everything in it together. Where it does not, this
program adopts what the command leaves behind (Linux alone has such "subreapers") and ends it. It ends all of it when
the command ends, when its standard input is hung up (the parent closed it, or died), or when it is told to (SIGTERM);
then the folder is removed, and it ends as the command did.

It runs before any strange code, imports the standard library alone, and nothing of this project.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
_PATIENCE = 10.0
"""Seconds for which the sweep goes on: what it kills may have started more; the parent waits as long."""
_libc = ctypes.CDLL(None, use_errno=True)


class _EndWanted(Exception):
    """Somebody asked for the end."""


def main(folder: str, command: list[str]) -> int:
    """Run the command to its end, end everything that it started, and return its wait status."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    apart = enter_namespaces()
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(reader)
        _run_first(command, writer, apart=apart)
    os.close(writer)
    _let_go_of_answers()
    signal.signal(signal.SIGTERM, _stop_waiting)
    with contextlib.suppress(_EndWanted):
        _wait(first)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _kill(first)
    sweep()
    shutil.rmtree(folder, ignore_errors=True)
    status = os.read(reader, 16)
    return int(status) if status else int(signal.SIGKILL)


def enter_namespaces() -> bool:
    """Enter namespaces for processes and mounts, where the kernel lets an ordinary user do so."""
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) != 0:
        return False
    for path, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        # identities that are not mapped are shown as nobody; the namespaces are there all the same
        with contextlib.suppress(OSError), open(f"/proc/self/{path}", "w") as stream:
            stream.write(text)
    return True


def _run_first(command: list[str], writer: int, *, apart: bool) -> None:
    """Start the command, hand on how it ended, and end: in a PID namespace that is the end of everything in it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if apart:
        # of processes outside nothing is to be read: their environment may hold secrets. Some containers forbid it
        _libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    child = os.fork()
    if child == 0:
        # asked for anew: a fork does not inherit it
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            os.execv(command[0], command)
        except OSError as error:
            os.write(2, f"cannot be started: {error.strerror}\n".encode())
        # what a shell answers where it finds no program
        os._exit(127)
    _let_go_of_answers()
    while True:
        # what lost its own parent ends here, too
        ended, status = os.wait()
        if ended == child:
            os.write(writer, str(status).encode())
            os._exit(0)


def _let_go_of_answers() -> None:
    """Leave the pipes of answers to the command: they must end when it ends. Standard input is kept to see its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _stop_waiting(number: int, frame: FrameType | None) -> None:
    # a second signal would end this process before it has ended what it started
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _EndWanted


def _wait(first: int) -> None:
    """Wait until the first process ends, or the parent hangs up."""
    poller = select.poll()
    poller.register(0, 0)
    # where there is no such call, the end is looked for twenty times a second
    ends = os.pidfd_open(first) if hasattr(os, "pidfd_open") else -1
    if ends >= 0:
        poller.register(ends, select.POLLIN)
    while os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if any(descriptor == 0 for descriptor, _ in poller.poll(None if ends >= 0 else 50)):
            return


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def sweep() -> None:
    """End every process below this one: what lost its own parent was adopted by this one."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        for child in children():
            _kill(child)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def children() -> Iterator[int]:
    """Yield the processes whose parent this one is, by ``/proc``."""
    mine = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stream:
            # the name of the program stands in brackets and may hold anything
            if int(stream.read().rpartition(b")")[2].split()[1]) == mine:
                yield int(name)


def _end_like(status: int) -> None:
    """End as the command did, by the same signal where it was one."""
    if os.WIFSIGNALED(status):
        import resource

        # the command has left its core already, if it was to leave one
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _end_like(main(sys.argv[1], sys.argv[2:]))
