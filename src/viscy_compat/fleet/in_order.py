"""Work on the items of a list in several processes: answers come in its order, and whoever stops waits for clean ends."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

from viscy_compat.fleet.engines import begin_worker, held_interrupts, usable_cores

Task = TypeVar("Task")
TaskAnswer = TypeVar("TaskAnswer")

_FEW: Final = 4
"""Files up to which one process is as quick: starting another takes as long as writing one of 100 MB."""
_WAITING: Final = 3
"""Items for each process that are handed over before their answers are asked for."""
PATIENCE: Final = 3.0
"""Seconds in which a process that was asked to end must have ended: it takes milliseconds, but for a disc that hangs or a
crowded machine, and one that is killed leaves half a file behind."""


def answers_in_order(
    items: Iterable[tuple[Task, TaskAnswer | None]],
    work: Callable[[Task], TaskAnswer],
    *,
    jobs: int,
    recall: Callable[[Task], TaskAnswer | None],
    despair: Callable[[Task, str], TaskAnswer],
) -> Generator[TaskAnswer]:
    """Yield the answer of each item.

    Parameters
    ----------
    items : Iterable[tuple[Task, TaskAnswer or None]]
        Each with its answer, where that is known.
    work : Callable[[Task], TaskAnswer]
        A function of a module; with one job it is called in this process.
    jobs : int
        Processes.
    recall : Callable[[Task], TaskAnswer or None]
        What came of an item whose process died: it may have been done before.
    despair : Callable[[Task, str], TaskAnswer]
        The answer for an item whose process dies whenever it is tried, and how.
    """
    if jobs == 1:
        yield from (work(item) if answer is None else answer for item, answer in items)
        return
    pool = _Processes(jobs, work)
    waiting: deque[tuple[Task, TaskAnswer | None, Future[TaskAnswer] | None]] = deque()
    is_whole = False

    def next_answer() -> TaskAnswer:
        item, answer, future = waiting.popleft()
        if future is None:
            return _known(answer)
        try:
            return future.result()
        except BrokenProcessPool:
            # all that was in the processes went down with the one that died: each of it is tried by itself
            answer = recall(item)
            return _try_alone(item, work, despair) if answer is None else answer

    try:
        for item, answer in items:
            waiting.append((item, answer, pool.submit(item) if answer is None else None))
            # no more is handed over than keeps the processes busy, and what is ready waits for nobody
            while len(waiting) > _WAITING * jobs or (waiting and (not (first := waiting[0][2]) or first.done())):
                yield next_answer()
        while waiting:
            yield next_answer()
        is_whole = True
    finally:
        pool.close(at_once=not is_whole)


def _known(answer: TaskAnswer | None) -> TaskAnswer:
    assert answer is not None, "what has no answer is handed over"
    return answer


def _try_alone(
    item: Task, work: Callable[[Task], TaskAnswer], despair: Callable[[Task, str], TaskAnswer]
) -> TaskAnswer:
    """Try an item in a process of its own, which dies for no other's sake."""
    pool = _Processes(1, work)
    is_whole = False
    try:
        answer: TaskAnswer = pool.submit(item).result()
        is_whole = True
    except BrokenProcessPool as problem:
        answer = despair(item, f"{type(problem).__name__}: {problem}")
    finally:
        pool.close(at_once=not is_whole)
    return answer


class _Processes:
    """Processes that do one kind of work; they are asked to end before they are made to."""

    def __init__(self, jobs: int, work: Callable[[Any], Any]) -> None:
        self._jobs, self._work = jobs, work
        self._pool = self._start()

    def submit(self, item: object) -> Future[Any]:
        """Hand an item over; to new processes where some died."""
        with held_interrupts():
            try:
                return self._pool.submit(_do, self._work, item)
            except BrokenProcessPool:
                self.close(at_once=True)
                self._pool = self._start()
                return self._pool.submit(_do, self._work, item)

    def close(self, *, at_once: bool) -> None:
        """End the processes; at once they take back what they have in hand."""
        processes = list((self._pool._processes or {}).values())
        manager: Any = self._pool._executor_manager_thread
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        if not at_once:
            return
        for process in processes:
            process.terminate()
        until = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(until - time.monotonic(), 0))
            process.kill()
        for process in processes:
            # what it held locked is free once it is gone
            process.join(PATIENCE)
        if manager is not None:
            # one that is still closing its pipes when Python ends has a traceback printed (3.11)
            manager.join(PATIENCE)

    def _start(self) -> ProcessPoolExecutor:
        from multiprocessing import get_context

        # a forked process would share locks and descriptors with this one
        return ProcessPoolExecutor(self._jobs, mp_context=get_context("spawn"), initializer=_begin)


class _Hand:
    """What this process, a worker, has in hand: an item or nothing."""

    full = False


def _begin() -> None:
    begin_worker()
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End a worker: what it has in hand is left through an exception, so that no half of it stays."""
    # the pool ends the others once it sees one gone: a second signal would leave what the first has cleaned up
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _Hand.full:
        raise KeyboardInterrupt
    os._exit(128 + number)


def _do(work: Callable[[Task], TaskAnswer], item: Task) -> TaskAnswer:
    try:
        _Hand.full = True
        return work(item)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGTERM)
    finally:
        _Hand.full = False


def jobs_for(jobs: int | None, count: int) -> int:
    """Return how many processes so many files are worth.

    Parameters
    ----------
    jobs : int or None
        What the user asks for; all processors where nothing is said.
    count : int
        How many files there are.
    """
    if jobs is None and count <= _FEW:
        return 1
    return max(min(jobs or usable_cores(), count), 1)
