"""A thread that waits for the disc while a file is written; waiting releases the GIL."""

from __future__ import annotations

from threading import Event, Thread

from viscy_compat.annotations import Callable

STRIDE = 8 << 20
"""Bytes after which a file that is being written is brought to the disc once more."""


class DiscSync:
    """A thread that brings a file to the disc, time and again, while it is being written.

    Waiting for the disc once at the end takes as long as the copy itself; this way nearly all of it happens meanwhile.

    Parameters
    ----------
    sync : Callable[[], None]
        Waits until the disc has what was written so far; may raise OSError.
    """

    __slots__ = ("_behind", "_error", "_stopped", "_sync", "_thread", "_wanted", "_written")

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync, self._behind, self._stopped, self._written = sync, 0, False, False
        self._error: OSError | None = None
        self._wanted = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def count(self, nbytes: int) -> None:
        """Be told how much was written, wherever in the file; every few megabytes are worth a round.

        Two threads that count at once may lose one's bytes: the round comes a block later.
        """
        self._behind += nbytes
        if self._behind >= STRIDE:
            self._behind = 0
            self._wanted.set()

    def begin_last_round(self) -> None:
        """Let the thread bring to the disc what is left, and end; nothing may be written any more."""
        self._written = True
        self._wanted.set()

    def finish(self) -> None:
        """Wait until the disc has everything, and raise what it refused in any round.

        Raises
        ------
        OSError
            The system tells an error of the disc once only, so it may have been told in an earlier round.
        """
        self.begin_last_round()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread after the round under way, whatever the disc has."""
        self._stopped = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while self._error is None and not self._stopped:
            self._wanted.wait()
            self._wanted.clear()
            # asked before the round: what is said during one calls for another
            is_last = self._written
            try:
                if not self._stopped:
                    self._sync()
            except OSError as error:
                self._error = error
            if is_last:
                return
