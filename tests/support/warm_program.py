"""Workers that need not import torch, timm and MONAI: each is forked from one process that has.

``python -I warm_program.py serve SOCKET`` is that process; it ends with its standard input.
``python -I -S warm_program.py ask SOCKET FOLDER COMMAND...`` stands where the launcher stands before a worker's command: it hands
its standard streams, environment and folder over, and ends as the forked worker does. In the fork runs the launcher itself, so
that namespaces, limits and all that a worker gives up are those of any other; only the exec of an interpreter is left out,
which would import the stack anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

WORKERS = Path(__file__).resolve().parents[2] / "src" / "viscy_compat" / "workers"
LONGEST = 1 << 20
"""Bytes of what is handed over: an environment and two paths."""


def load(path: Path) -> Any:
    """Import a file as a module of its name."""
    spec: Any = importlib.util.spec_from_file_location(path.parent.name + path.stem.strip("_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Nursery:
    """The process that has imported the stack, and the workers that were forked from it."""

    def __init__(self, path: str) -> None:
        self.launcher, self.loop = load(WORKERS / "launcher.py"), load(WORKERS / "program" / "__main__.py").load()
        versions = self.loop.import_stack()
        # once a process: torch refuses a second number of threads
        self.loop.import_stack = lambda device="cpu": versions
        # the pages of what was imported stay those of this process
        gc.freeze()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.poller = select.poll()
        self.askers: dict[int, tuple[socket.socket, int]] = {}
        self.ends: dict[int, int] = {}

    def serve(self) -> None:
        """Fork for whoever asks, until standard input ends."""
        print("ready", flush=True)
        for descriptor in (0, self.listener.fileno()):
            self.poller.register(descriptor, select.POLLIN)
        while True:
            # one at a time: what is told of a descriptor is no longer true once another event has closed it
            descriptor = self.poller.poll()[0][0]
            if descriptor == 0:
                # whoever has this process has ended, or was ended before it could tidy up
                return shutil.rmtree(os.path.dirname(self.listener.getsockname()), ignore_errors=True)
            if descriptor == self.listener.fileno():
                self.take(self.listener.accept()[0])
            elif descriptor in self.ends:
                self.report(descriptor)
            else:
                # nobody waits for it any more
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.askers[descriptor][1], signal.SIGKILL)
                self.poller.unregister(descriptor)

    def take(self, asker: socket.socket) -> None:
        """Fork a worker for one asker."""
        words, streams, *_ = socket.recv_fds(asker, LONGEST, 3)
        if not words:
            # ended before it had asked
            asker.close()
            return
        child = os.fork()
        if child == 0:
            try:
                self.become(json.loads(words), streams)
            finally:
                os._exit(1)
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(OSError):
            asker.sendall(f"{child}\n".encode())
        end = os.pidfd_open(child)
        self.askers[asker.fileno()], self.ends[end] = (asker, child), asker.fileno()
        self.poller.register(end, select.POLLIN)
        self.poller.register(asker.fileno(), select.POLLHUP)

    def report(self, end: int) -> None:
        """Tell an asker how its worker ended."""
        self.poller.unregister(end)
        os.close(end)
        asker, child = self.askers.pop(self.ends.pop(end))
        status = os.waitpid(child, 0)[1]
        with contextlib.suppress(KeyError):
            self.poller.unregister(asker.fileno())
        with contextlib.suppress(OSError):
            asker.sendall(str(status).encode())
        asker.close()

    def become(self, words: Any, streams: list[int]) -> None:
        """Be the launcher of a worker: never returns."""
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, max(streams) + 1)
        os.setsid()
        os.chdir(words["place"])
        os.environ.clear()
        os.environ.update(words["environment"])
        os.execv = self.be_the_program  # type: ignore[assignment]
        self.launcher._end_like(self.launcher.main(words["folder"], words["command"]))

    def be_the_program(self, path: str, words: list[str]) -> None:
        """Run the worker's program where an interpreter would be started with it."""
        code = self.loop.main()
        sys.stderr.flush()
        os._exit(code)


def ask(path: str, folder: str, command: list[str]) -> int:
    """Have a worker forked, and return its wait status once it has ended."""
    nursery = socket.socket(socket.AF_UNIX)
    nursery.connect(path)
    words = {"environment": dict(os.environ), "place": os.getcwd(), "folder": folder, "command": command}
    socket.send_fds(nursery, [json.dumps(words).encode()], [0, 1, 2])
    answers = nursery.makefile("rb")
    worker = int(answers.readline())

    def hand_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, number)

    signal.signal(signal.SIGTERM, hand_on)
    # the pipes must end when the worker ends
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    return int(answers.read() or signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Nursery(sys.argv[2]).serve()
        os._exit(0)
    else:
        load(WORKERS / "launcher.py")._end_like(ask(sys.argv[2], sys.argv[3], sys.argv[4:]))
