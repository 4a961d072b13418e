"""What runs in processes is started so that Ctrl-C reaches the parent alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from viscy_compat.fleet.engines import Cores, held_interrupts
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
