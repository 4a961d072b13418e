"""What is shared among threads is done once, and ends where one of them fails."""

from __future__ import annotations

import threading

import pytest

from viscy_compat.rewrite.shared_work import SharedWork


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_item_is_taken_once(threads: int) -> None:
    done: list[int] = []
    SharedWork(range(2000)).run(lambda work: done.extend(work.take()), threads=threads)
    assert sorted(done) == list(range(2000))


def test_one_thread_takes_them_in_order_and_is_the_one_that_waits() -> None:
    done: list[tuple[int, int]] = []
    SharedWork("ab").run(lambda work: done.extend((ord(one), threading.get_ident()) for one in work.take()), threads=1)
    assert done == [(97, threading.get_ident()), (98, threading.get_ident())]


def test_where_one_thread_fails_the_others_stop_and_the_error_is_raised_here() -> None:
    failed, taken = threading.Event(), []

    def work_once(work: SharedWork[int]) -> None:
        for item in work.take():
            if item == 0:
                failed.set()
                raise ValueError("the first one")
            failed.wait(600)
            taken.append(item)

    before = {*threading.enumerate()}
    with pytest.raises(ValueError, match="the first one"):
        SharedWork(range(100_000)).run(work_once, threads=2)
    assert len(taken) < 100_000
    assert {*threading.enumerate()} <= before


def test_an_interrupted_wait_ends_the_threads_first(monkeypatch: pytest.MonkeyPatch) -> None:
    join, calls, started = threading.Thread.join, [], threading.Event()

    def interrupted_once(thread: threading.Thread) -> None:
        calls.append(thread)
        if len(calls) == 1:
            started.wait(600)
            raise KeyboardInterrupt
        join(thread)

    def slow(work: SharedWork[int]) -> None:
        for _ in work.take():
            started.set()
            threading.Event().wait(0.001)

    monkeypatch.setattr(threading.Thread, "join", interrupted_once)
    work = SharedWork(range(1_000_000))
    with pytest.raises(KeyboardInterrupt):
        work.run(slow, threads=2)
    assert not any(thread.is_alive() for thread in calls)
    assert list(work.take()) == []
