"""What a worker does to itself before strange code runs: limits, an audit hook, and the layers of `confinement`."""

from __future__ import annotations

import os
import sys
from typing import Any

from .confinement import Confinement

_NETWORK = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostby",
)
"""Audit events of Python: what raises in their hook does not happen."""

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")


class Isolation:
    """The limits and layers of one worker.

    Parameters
    ----------
    request : dict
        The ``start`` request: ``namespace``, ``memory``, ``file``, ``core``, ``folder``.
    """

    def __init__(self, request: Any) -> None:
        self._request, self._confinement = request, Confinement()
        self._folder = request.get("folder") or os.getcwd()
        self._limits: list[str] = []
        self._sealed = False

    def enter(self) -> None:
        """Go where the import of the stack may still write byte code and start threads."""
        if self._request.get("namespace", True):
            self._confinement.enter()
        sys.addaudithook(self._audit)
        for name, key in (("RLIMIT_DATA", "memory"), ("RLIMIT_FSIZE", "file"), ("RLIMIT_CORE", "core")):
            # what the platform has no limit for is not said to be limited
            if key in self._request and _limit(name, int(self._request[key])):
                self._limits.append(f"{key} limit {self._request[key]}")

    def seal(self) -> list[str]:
        """Give up everything else, and say what is in force."""
        sys.dont_write_bytecode = True
        self._confinement.seal(self._folder)
        measured = list(self._confinement.measured(self._folder))
        self._sealed = True
        interpreter = "isolated interpreter" if sys.flags.isolated else "interpreter not isolated"
        return ["own process", interpreter, *measured, "sockets and processes blocked in Python", *self._limits]

    def _audit(self, event: str, arguments: Any) -> None:
        """Refuse the network always, and new processes once the stack is imported. An audit hook cannot be taken off."""
        if event.startswith(_NETWORK):
            raise PermissionError(f"{event} is refused in this worker")
        if self._sealed and event.startswith(_PROCESSES):
            raise PermissionError(f"{event} is refused in this worker")


def _limit(name: str, value: int) -> bool:
    try:
        import resource
    except ImportError:
        return False
    kind = getattr(resource, name, None)
    if kind is None:
        return False
    hard = resource.getrlimit(kind)[1]
    # a lower one is in force already, and nobody but root may raise it
    if hard != resource.RLIM_INFINITY and hard < value:
        return True
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        return False
    return True
