"""Workers that are forked from one process that has imported the stack: importing it is most of what a start costs."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from support.uncounted import uncounted
from viscy_compat.workers import worker

PROGRAM = Path(__file__).with_name("warm_program.py")
PYTHON = sys.executable
"""A test may say that another one runs it, in which workers then start cold."""
_STARTING = threading.Lock()
"""Both sides start at once, each in a thread of its own, and what one of them patches the other must not put back."""


@cache
def _nursery() -> str:
    """Start the process that has imported the stack, once a test process, and return the path of its socket."""
    # that process removes it
    folder = tempfile.mkdtemp(prefix="warm-")
    path = os.path.join(folder, "socket")
    environment = {**uncounted(), **worker._environment(folder, "cpu")}
    words = [PYTHON, "-I", str(PROGRAM), "serve", path]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    atexit.register(process.communicate)
    return path


@contextmanager
def warm_workers() -> Iterator[None]:
    """Start workers of this interpreter warm for a while; where there is no fork, as ever."""
    started = worker.Worker._launch

    def launch(self: worker.Worker) -> subprocess.Popen[bytes]:
        with _STARTING, pytest.MonkeyPatch.context() as patch:
            if self.python == PYTHON and self.device == "cpu":
                words = [PYTHON, "-I", "-S", str(PROGRAM), "ask", _nursery()]
                patch.setattr(worker, "_launcher", lambda folder: [*words, folder])
            return started(self)

    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            patch.setattr(worker.Worker, "_launch", launch)
        yield
