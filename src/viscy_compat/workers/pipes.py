"""The three pipes of a worker: written and read by threads that never wait for longer than the worker is wanted.

A process that a worker started may hold the other ends for as long as it likes, so nothing here waits for an end of
file: every wait is for a short while, and then asks whether the worker is still wanted.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Literal

Ending = Literal["ended", "flooded"]

_CHUNK = 1 << 16
_TICK = 100
"""Milliseconds between two looks at whether a worker is still wanted."""
_LAST_WORDS = 8192
_PATIENCE = 5.0
"""Seconds for a thread to see that a worker is not wanted, or has ended: a look or two, but on a crowded machine."""
_UNREAD = 4
"""How many times the bytes of the longest answer may wait to be read."""


class Pipes:
    """What goes to a worker and what comes from it.

    Parameters
    ----------
    process : subprocess.Popen
        The worker, with three pipes.
    answer, noise : int
        Bytes of one line of answer, and of everything that is printed; where there are more, `flooded` is called.
    flooded : Callable[[], None]
        Ends the worker.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], *, answer: int, noise: int, flooded: Callable[[], None]
    ) -> None:
        self._process, self._answer, self._noise, self._flooded = process, answer, noise, flooded
        self._lines: queue.Queue[bytes | Ending] = queue.Queue()
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        self._unwanted = threading.Event()
        self._said, self._come, self._taken = b"", 0, 0
        self._threads = [
            # daemons, and no pool: at the end of the interpreter a pool waits for what hangs in a read
            threading.Thread(target=target, daemon=True)
            for target in (self._write, self._read_answers, self._read_noise)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, line: bytes) -> None:
        """Hand a line over, to be written when the worker takes it."""
        self._requests.put(line + b"\n")

    def line(self, timeout: float) -> bytes | Ending:
        """Return the next line; raises `queue.Empty` where none comes in time."""
        line = self._lines.get(timeout=timeout)
        self._taken += len(line)
        return line

    def last_words(self) -> list[str]:
        """Return the last lines that the worker printed, once it has ended."""
        self._threads[2].join(timeout=_PATIENCE)
        return self._said.decode(errors="replace").strip().splitlines()

    def hang_up(self) -> None:
        """Close the worker's standard input: the sign that nobody wants it any more."""
        self._unwanted.set()
        self._requests.put(None)
        self._threads[0].join(timeout=_PATIENCE)
        self._close(self._process.stdin, self._threads[0])

    def close(self) -> None:
        """Let go of the pipes, whoever holds their other ends."""
        self._unwanted.set()
        for thread, pipe in zip(self._threads[1:], (self._process.stdout, self._process.stderr), strict=True):
            thread.join(timeout=_PATIENCE)
            self._close(pipe, thread)

    def _close(self, pipe: IO[bytes] | None, thread: threading.Thread) -> None:
        # where the system has no poll, a thread may still be in the middle of a read: the pipe is left to it
        if pipe and not thread.is_alive():
            try:
                pipe.close()
            except OSError:
                return

    def _write(self) -> None:
        pipe: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        # a worker that reads nothing must not hold this thread; Windows has no poll, and there it may
        if hasattr(select, "poll"):
            os.set_blocking(pipe.fileno(), False)
        while (line := self._requests.get()) is not None:
            while line and self._ready(pipe, writing=True):
                try:
                    line = line[os.write(pipe.fileno(), line) :]
                except BlockingIOError:
                    continue
                except OSError:
                    # what became of a worker that reads no more is said by the next answer
                    return

    def _read_answers(self) -> None:
        stream: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        line = bytearray()
        while chunk := self._read(stream):
            *whole, rest = chunk.split(b"\n")
            for end in whole:
                self._lines.put(bytes(line + end))
                line.clear()
            line += rest
            self._come += len(chunk)
            if len(line) > self._answer or self._come - self._taken > _UNREAD * self._answer:
                self._lines.put("flooded")
                return self._flooded()
        self._lines.put("ended")

    def _read_noise(self) -> None:
        stream: IO[bytes] = self._process.stderr  # type: ignore[assignment]
        noisy = 0
        while chunk := self._read(stream):
            self._said = (self._said + chunk)[-_LAST_WORDS:]
            noisy += len(chunk)
            if noisy > self._noise:
                self._lines.put("flooded")
                return self._flooded()

    def _read(self, stream: IO[bytes]) -> bytes:
        """Return what there is; nothing at the end of the pipe, and once the worker is not wanted any more."""
        return os.read(stream.fileno(), _CHUNK) if self._ready(stream) else b""

    def _ready(self, stream: IO[bytes], *, writing: bool = False) -> bool:
        """Wait until a pipe can be used; false once the worker is not wanted any more."""
        if not hasattr(select, "poll"):
            return not self._unwanted.is_set()
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLOUT if writing else select.POLLIN)
        while not self._unwanted.is_set():
            if poller.poll(_TICK):
                return True
        return False
