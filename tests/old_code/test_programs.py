"""A program ends with what it started, whatever that holds on to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from viscy_compat.old_code.programs import run_program


def test_what_it_printed_and_how_it_ended() -> None:
    program = "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('said'); sys.exit(3)"
    assert run_program([sys.executable, "-SE", "-c", program], seconds=20, text=b"abc") == (3, b"cba", b"said")


@pytest.mark.skipif(os.name != "posix", reason="the program is a line of shell")
@pytest.mark.parametrize(("apart", "last"), [("", "sleep 60"), ("setsid ", "sleep 60"), ("setsid ", "exit 0")])
def test_a_child_that_holds_the_pipes_keeps_nobody(tmp_path: Path, apart: str, last: str) -> None:
    marker = tmp_path / "marker"
    script = f"{apart}sh -c 'sleep 3; touch {marker}' & {last}"
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["/bin/sh", "-c", script], seconds=0.5)
    assert time.monotonic() - begun < 2
    if not apart:
        time.sleep(3)
        assert not marker.exists()
