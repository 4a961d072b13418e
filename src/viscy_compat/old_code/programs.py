"""Programs that are run to their end and ended with everything that they started; nothing is waited for without end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

_LAST = 2.0
"""Seconds in which a program that was ended must be gone, and its pipes be empty."""


class ProgramOutput(NamedTuple):
    """What a program printed, and how it ended."""

    exit_code: int
    out: bytes
    err: bytes


def run_program(
    command: Sequence[str],
    *,
    seconds: float,
    text: bytes = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> ProgramOutput:
    """Run a program, feed it, and return what it printed.

    Raises
    ------
    subprocess.TimeoutExpired
        It took too long, or a stranger that it left behind holds its pipes.
    OSError
        It cannot be started.
    """
    pipe = subprocess.PIPE
    # a session of its own makes it the leader of a group, by which all that it starts can be ended
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env, start_new_session=os.name == "posix"
    )
    try:
        out, err = process.communicate(text, timeout=seconds)
        return ProgramOutput(process.returncode, out, err)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's group, and let go of the pipes, whoever holds their other ends."""
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_LAST)
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            if stream:
                stream.close()
