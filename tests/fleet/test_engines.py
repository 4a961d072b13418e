"""What runs in processes is started so that Ctrl-C reaches the parent alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from viscy_compat.fleet.engines import Cores, OwnProcess, held_interrupts
from viscy_compat.fleet.judging import AuditQuestion
from viscy_compat.interrupts import ENDING, Interrupts

QUESTION = AuditQuestion()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_a_worker_is_deaf_to_ctrl_c_from_its_first_instruction_and_the_parent_is_not() -> None:
    """One that is hit while it imports has no handler yet, and prints a traceback over the report."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    engine = Cores(1)
    try:
        assert engine.submit(QUESTION, ()).result(600) == []
        (worker,) = engine._pool._processes
        status = Path(f"/proc/{worker}/status").read_text()
    finally:
        engine.close(at_once=True)
    blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
    assert blocked >> (signal.SIGINT - 1) & 1
    assert not blocked >> (signal.SIGTERM - 1) & 1
    assert not blocked >> (signal.SIGHUP - 1) & 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals")
@pytest.mark.parametrize("name", ENDING)
def test_no_signal_turns_the_parent_away_from_a_process_that_it_is_starting(name: str) -> None:
    """A process whose parent has not handed over what it starts from prints a traceback of `multiprocessing`."""
    steps = []

    def start() -> None:
        with held_interrupts():
            signal.raise_signal(getattr(signal, name))
            steps.append("handed over")
        steps.append("not reached")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["handed over"]
    assert interrupts.number == getattr(signal, name)


HANGING = """
import threading
from viscy_compat.fleet import engines

begun = threading.Event()

def hang(*_):
    begun.set()
    threading.Event().wait()

engines.judge_shard = hang
engine = engines.OwnProcess()
engine.submit(None, ())
begun.wait()
engine.close(at_once=True)
print("closed")
"""


def test_a_file_whose_server_does_not_answer_holds_up_nobody_who_gives_up() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def test_what_is_raised_in_its_own_thread_reaches_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    engine = OwnProcess()
    monkeypatch.setattr("viscy_compat.fleet.engines.judge_shard", fail)
    with pytest.raises(ZeroDivisionError):
        engine.submit(QUESTION, ()).result(600)
    monkeypatch.undo()
    assert engine.submit(QUESTION, ()).result(600) == []
    engine.close(at_once=False)
