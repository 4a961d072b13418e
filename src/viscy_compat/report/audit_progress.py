"""How far an audit is: a line that is written over on a terminal, else a line every hundred files; on stderr."""

from __future__ import annotations

import sys
import time
from typing import Final

from viscy_compat.report import say

_OFTEN: Final = 0.2
"""Seconds between two looks at the line: more often nobody sees."""
_FILES: Final = 100
"""Files between two lines of a log."""


class AuditProgress:
    """Counts files and says how many, how quickly, and how much time is left."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total, self._quiet = total, quiet
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._start, self._last, self._count = time.monotonic(), 0.0, 0

    def step(self) -> None:
        """Count a file."""
        self._count += 1
        if self._quiet:
            return
        now = time.monotonic()
        if self._terminal and now - self._last >= _OFTEN:
            self._last = now
            sys.stderr.write(f"\r\x1b[K{self._line(now)}")
            sys.stderr.flush()
        elif not self._terminal and self._count % _FILES == 0:
            say(self._line(now), to="stderr")

    def clear(self) -> None:
        """Take the line away before something else is printed."""
        if self._terminal and not self._quiet and self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._last = 0.0

    def _line(self, now: float) -> str:
        rate = self._count / max(now - self._start, 1e-3)
        left = round((self._total - self._count) / max(rate, 1e-3))
        return f"{self._count:,} of {self._total:,} files, {rate:,.0f} a second, {spelled_time(left)} left"


def spelled_time(seconds: int) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> spelled_time(5), spelled_time(125), spelled_time(7300)
    ('5 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
