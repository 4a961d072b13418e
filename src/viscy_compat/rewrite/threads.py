"""Two things at once: reading ahead of a writer, waiting for the disc, comparing. All of them release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

Item = TypeVar("Item")

_BATCH = 1 << 19
_DEPTH = 2

STRIDE = 8 << 20
"""Bytes after which a growing file is brought to the disc once more."""


def read_ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces that another thread reads ahead of time, about 1 MB; whatever the reading raises is raised here.

    Examples
    --------
    >>> list(read_ahead((b"a", b"b")))
    [b'a', b'b']
    """
    return _Ahead(pieces).run()


class _Ahead:
    """A thread that fills batches of pieces, as far ahead as the semaphore lets it."""

    __slots__ = ("_free", "_pieces", "_ready", "_stopped")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._ready: SimpleQueue[list[bytes] | BaseException | None] = SimpleQueue()
        self._free = Semaphore(_DEPTH)
        self._stopped = False

    def run(self) -> Iterator[bytes]:
        """Yield the pieces; the thread ends with the last one, or when the caller stops."""
        thread = Thread(target=self._read, daemon=True)
        thread.start()
        try:
            while (batch := self._ready.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield from batch
                self._free.release()
        finally:
            self._stopped = True
            self._free.release()
            thread.join()

    def _read(self) -> None:
        end: BaseException | None = None
        try:
            for batch in _batches(self._pieces):
                self._free.acquire()
                if self._stopped:
                    return
                self._ready.put(batch)
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            end = error
        self._ready.put(end)


def _batches(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class DiscSync:
    """A thread that brings a growing file to the disc, time and again.

    Waiting for the disc once at the end takes as long as the copy itself; this way nearly all of it happens meanwhile.

    Parameters
    ----------
    sync : Callable[[], None]
        Waits until the disc has what was written so far; may raise OSError.
    """

    __slots__ = ("_error", "_next", "_stopped", "_sync", "_thread", "_wanted")

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync, self._next, self._stopped = sync, STRIDE, False
        self._error: OSError | None = None
        self._wanted = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def reach(self, position: int) -> None:
        """Be told how much was written; every few megabytes are worth a round."""
        if position >= self._next:
            self._next = position + STRIDE
            self._wanted.set()

    def finish(self) -> None:
        """Wait for the round under way, end the thread, and raise what the disc refused in any round.

        Raises
        ------
        OSError
            The system tells an error of the disc once only, so it may have been told in an earlier round.
        """
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while self._error is None:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped:
                return
            try:
                self._sync()
            except OSError as error:
                self._error = error


def hand_out(queue: deque[Item]) -> Iterator[Item]:
    """Yield items until none is left; several threads may take from one deque, and each item is taken once.

    Examples
    --------
    >>> list(hand_out(deque("ab")))
    ['a', 'b']
    """
    with suppress(IndexError):
        while True:
            yield queue.popleft()


def run_together(works: Sequence[Callable[[], None]]) -> None:
    """Do several things at once, each in a thread, and raise the first error in their order.

    Examples
    --------
    >>> done = []
    >>> run_together([lambda: done.append(1), lambda: done.append(2)])
    >>> sorted(done)
    [1, 2]
    """
    errors: list[BaseException | None] = [None] * len(works)

    def attempt(place: int) -> None:
        try:
            works[place]()
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            errors[place] = error

    threads = [Thread(target=attempt, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if error is not None:
            raise error
