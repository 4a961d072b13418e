"""Where files are judged: in this process, on every core, or (`viscy_compat.fleet.cluster`) on other machines.

An engine is what `concurrent.futures` calls an executor, with how many files one task has and how many tasks wait.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final, Protocol

from viscy_compat.errors import UsageError
from viscy_compat.fleet.judging import AuditQuestion, judge_shard
from viscy_compat.fleet.target import Target
from viscy_compat.interrupts import ENDING

SHARD: Final = 8
"""Files of one task on this machine: a killed run loses at most these, and handing one over costs 0.2 ms."""
FEW: Final = 48
"""Files up to which one process is as quick: starting a worker takes as long as judging some twenty."""

PATIENCE: Final = 10.0
"""Seconds for a pool to see that its processes were killed: it takes milliseconds, but on a crowded machine."""


class Engine(Protocol):
    """Something that judges shards.

    ``falls_together`` says whether the end of one process takes down what all others have in hand.
    """

    shard: int
    window: int
    falls_together: bool

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        """Have a shard judged."""

    def renew(self) -> None:
        """Go on after a worker died."""

    def refuse_absence(self) -> None:
        """Raise `WorkerFailed` where nobody will answer any more."""

    def flush(self) -> None:
        """Learn that no more shards come."""

    def close(self, *, at_once: bool) -> None:
        """End; at once where nobody waits for answers any more."""


class _Answering:
    """Hands what is raised while it is entered to whoever waits for the answer."""

    def __init__(self, future: Future[list[bytes]]) -> None:
        self._future = future

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return True


class OwnProcess:
    """Judges here, in a thread, so that a signal is noticed meanwhile."""

    shard, window, falls_together = SHARD, 2, True

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Future[list[bytes]], AuditQuestion, Sequence[Target]] | None] = SimpleQueue()
        self._is_given_up = False
        # Python waits at its end for the threads of an executor, and one may wait for a server
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        """Have a shard judged."""
        future: Future[list[bytes]] = Future()
        self._tasks.put((future, question, targets))
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) and not self._is_given_up:
            future, question, targets = task
            with _Answering(future):
                future.set_result(judge_shard(question, targets))

    def renew(self) -> None:
        """There is nothing to renew."""

    def refuse_absence(self) -> None:
        """A thread is always there."""

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, at_once: bool) -> None:
        """End once nothing is in hand; nobody waits for that."""
        self._is_given_up = at_once
        self._tasks.put(None)


class Cores:
    """Judges in processes of this machine; one that dies takes only its own file with it."""

    shard, falls_together = SHARD, True

    def __init__(self, jobs: int) -> None:
        self.window = 3 * jobs
        self._jobs = jobs
        self._pool = _pool(jobs)

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        """Have a shard judged; in new processes where some died."""
        with held_interrupts():
            try:
                return self._pool.submit(judge_shard, question, targets)
            except BrokenProcessPool:
                self.renew()
                return self._pool.submit(judge_shard, question, targets)

    def renew(self) -> None:
        """Start new processes: the pool ends as a whole when one of them dies."""
        self.close(at_once=True)
        self._pool = _pool(self._jobs)

    def refuse_absence(self) -> None:
        """A pool says itself when one of its processes ends."""

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, at_once: bool) -> None:
        """End the processes; at once they are killed, whatever they read."""
        processes = list((self._pool._processes or {}).values()) if at_once else []
        manager: Any = self._pool._executor_manager_thread
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        if at_once and manager is not None:
            # one that is still closing its pipes when Python ends has a traceback printed (3.11)
            manager.join(PATIENCE)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let signals that end us wait: processes start in here, and inherit that until they begin.

    One that is hit while it starts prints a traceback, and so does one whose parent turns away before it has handed over
    what a process starts from.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ending())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending() -> set[int]:
    return {int(getattr(signal, name)) for name in ENDING if hasattr(signal, name)}


def _pool(jobs: int) -> ProcessPoolExecutor:
    from multiprocessing import get_context

    # a forked process would share locks and descriptors with this one, and its memory would be counted twice
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin_worker)


def begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone: a worker that waits for work would never notice."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ending() - {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def engine_for(place: str, jobs: int | None, files: int) -> Engine:
    """Return the engine that ``--on`` and ``--jobs`` ask for.

    Parameters
    ----------
    place : str
        Empty for this machine, ``dask://HOST:PORT`` or ``slurm``.
    jobs : int or None
        Processes; all processors where nothing is said.
    files : int
        How many there are to judge: few are not worth a process.

    Raises
    ------
    UsageError
        Where there is no such place.
    MissingExtra
        Where its package is not installed.
    """
    if place:
        from viscy_compat.fleet.cluster import cluster

        return cluster(place)
    refuse_no_jobs(jobs)
    jobs = jobs or usable_cores()
    return OwnProcess() if jobs == 1 or files <= FEW else Cores(min(jobs, -(-files // SHARD)))


def refuse_no_jobs(jobs: int | None) -> None:
    """Raise `UsageError` where ``--jobs`` is no number of processes."""
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs} is no number of processes", fix="give 1 or more")
