"""Signals that end a command: they become a `KeyboardInterrupt`, so that everything is cleaned up on the way out."""

from __future__ import annotations

import os
import time
from types import FrameType

from viscy_compat.annotations import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
else:
    # what `signal` wraps into enumerations, whose import costs more than the command's own work
    import _signal as signal

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that ask a process to end; where a platform has them."""

_ECHO = 0.5
"""Seconds in which a further signal is taken for the same one: a terminal and a wrapper (uv, npm) may both send it."""


class Interrupts:
    """While it is entered, the first signal to end raises `KeyboardInterrupt`; a later one ends the process at once.

    Attributes
    ----------
    number : int
        The signal that came; that of Ctrl-C until one does.
    """

    def __init__(self) -> None:
        self.number = int(signal.SIGINT)
        self._came: float | None = None
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """What shells give a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def __enter__(self) -> Interrupts:
        for number in (getattr(signal, name) for name in ENDING if hasattr(signal, name)):
            # what our parent chose to ignore (nohup, a background job) stays ignored
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._take(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int) -> None:
        try:
            self._before[number] = signal.signal(number, self._came_in)
        except ValueError:
            # only the main thread can; elsewhere whoever started the thread has it in hand
            return

    def _came_in(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._came is None:
            self._came, self.number = now, number
            raise KeyboardInterrupt
        if now - self._came > _ECHO:
            os._exit(128 + number)
