"""A program ends with what it started, whatever that holds on to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.lifeline import Lifeline
from viscy_compat.old_code.programs import run_program


def test_what_it_printed_and_how_it_ended() -> None:
    program = "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('said'); sys.exit(3)"
    assert run_program([sys.executable, "-SE", "-c", program], seconds=20, text=b"abc") == (3, b"cba", b"said")


@pytest.mark.skipif(os.name != "posix", reason="the program is a line of shell")
@pytest.mark.parametrize(("apart", "last"), [("", "wait"), ("setsid ", "wait"), ("setsid ", "exit 0")])
def test_a_child_that_holds_the_pipes_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: str, last: str
) -> None:
    child, communicate = Lifeline(tmp_path), subprocess.Popen.communicate

    def once_the_child_lives(process: subprocess.Popen[bytes], text: bytes, timeout: float) -> Any:
        child.wait()
        return communicate(process, text, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_the_child_lives)
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["/bin/sh", "-c", f"{apart}{child.words} & {child.until_it_lives}; {last}"], seconds=0.1)
    if apart:
        # it is a stranger with a group of its own: nobody has waited for its end
        assert child.holds()
        os.kill(child.process, signal.SIGKILL)
    assert child.was_cut()
