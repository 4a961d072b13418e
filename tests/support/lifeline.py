"""Whether a process has been ended, told by the system: it holds one end of a pipe, and nobody has to look at a clock."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

PROGRAM = """import os, time
pipe = os.open({pipe!r}, os.O_WRONLY)
os.write(pipe, b"begun")
with open({sign!r}, "w") as sign:
    sign.write(str(os.getpid()))
os.rename({sign!r}, {sign!r} + ".whole")
time.sleep(60)
os.write(pipe, b"late")
"""


class Lifeline:
    """A program that lives for a minute unless it is ended, and this end of its pipe.

    Attributes
    ----------
    words : str
        A line of shell that is the program.
    until_it_lives : str
        A line of shell that waits for it to have begun.
    """

    def __init__(self, folder: Path) -> None:
        pipe, self._sign, script = folder / "lifeline", folder / "sign.whole", folder / "lives.py"
        os.mkfifo(pipe)
        script.write_text(PROGRAM.format(pipe=str(pipe), sign=str(folder / "sign")))
        self._end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.words = f"{sys.executable} -SE {script}"
        self.until_it_lives = f"while [ ! -e {self._sign} ]; do sleep 0.05; done"

    @property
    def process(self) -> int:
        """The process, once it lives; in its own words, which are others in a namespace."""
        return int(self._sign.read_text())

    def wait(self) -> None:
        """Wait until it has begun."""
        select.select([self._end], [], [])

    def holds(self) -> bool:
        """Whether it has begun and lives."""
        try:
            return os.read(self._end, 5) == b"begun" and self.holds()
        except BlockingIOError:
            return True

    def was_cut(self) -> bool:
        """Whether it was ended before its minute was over; waits until either is clear."""
        os.set_blocking(self._end, True)
        said = b""
        while part := os.read(self._end, 100):
            said += part
        os.close(self._end)
        return b"late" not in said
