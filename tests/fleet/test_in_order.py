"""Answers of several processes come in the order of the questions; who dies takes nothing with it; an end is clean."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from support import chores
from viscy_compat.fleet import in_order
from viscy_compat.fleet.engines import usable_cores
from viscy_compat.fleet.in_order import answers_in_order, jobs_for


def answers(
    items: Iterable[tuple[Any, int | None]],
    work: Callable[[Any], int],
    *,
    jobs: int = 2,
    recall: Callable[[Any], int | None] = lambda _: None,
) -> list[int]:
    return list(answers_in_order(items, work, jobs=jobs, recall=recall, despair=lambda item, how: -item))


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_come_in_order_and_what_is_known_is_not_asked(jobs: int) -> None:
    items = [(number, 100 if number % 3 == 1 else None) for number in range(8)]
    assert answers(items, chores.double, jobs=jobs) == [0, 100, 4, 6, 100, 10, 12, 100]


def test_an_item_that_ends_its_process_is_alone_in_that() -> None:
    items = [(number, None) for number in range(8)]
    assert answers(items, chores.double_but_die_at_three) == [0, 2, 4, -3, 8, 10, 12, 14]


def test_what_was_done_before_its_process_died_is_recalled_and_not_done_again(tmp_path: Path) -> None:
    place = str(tmp_path / "done")
    assert answers([(place, None)], chores.die_the_first_time, recall=lambda _: 7) == [7]
    assert answers([(place, None)], chores.die_the_first_time) == [1]


def test_an_error_is_raised_where_its_answer_is_due() -> None:
    rows = answers_in_order(
        [(1, 5), (2, None)], chores.refuse, jobs=2, recall=lambda _: None, despair=lambda item, how: -item
    )
    assert next(rows) == 5
    with pytest.raises(ValueError, match="2 is refused"):
        next(rows)


Busy = Callable[[Callable[[str], int]], in_order._Processes]


@pytest.fixture
def busy(tmp_path: Path) -> Busy:
    """Two processes at work, each with a file of its own there."""

    def start(work: Callable[[str], int]) -> in_order._Processes:
        pool = in_order._Processes(2, work)
        for _ in range(3):
            pool.submit(str(tmp_path))
        until = time.monotonic() + 600
        while len(list(tmp_path.glob("*.tmp"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        return pool

    return start


def test_an_end_leaves_nothing_behind_though_one_process_ends_while_another_cleans_up(
    busy: Busy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_order, "PATIENCE", 300)
    busy(chores.work_long).close(at_once=True)
    assert list(tmp_path.glob("*.tmp")) == []


def test_what_does_not_end_when_asked_to_is_killed(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_order, "PATIENCE", 0.1)
    pool = busy(chores.ignore_ends)
    processes = list(pool._pool._processes.values())
    manager: Any = pool._pool._executor_manager_thread
    pool.close(at_once=True)
    # both wait for the processes, and only one of them learns how each ended
    manager.join()
    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2


def test_whoever_stops_listening_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[bool] = []
    close = in_order._Processes.close

    def noted(self: in_order._Processes, *, at_once: bool) -> None:
        ends.append(at_once)
        close(self, at_once=at_once)

    monkeypatch.setattr(in_order._Processes, "close", noted)
    rows = answers_in_order(
        [(number, None) for number in range(3)], chores.double, jobs=2, recall=lambda _: None, despair=lambda *_: 0
    )
    assert next(rows) == 0
    rows.close()
    assert ends == [True]
    assert answers([(1, None)], chores.double) == [2]
    assert ends == [True, False]


def test_few_files_and_one_processor_are_worked_on_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [jobs_for(None, count) for count in (1, 4)] == [1, 1]
    assert jobs_for(None, 1000) == usable_cores()
    assert [jobs_for(jobs, 3) for jobs in (1, 2, 8)] == [1, 2, 3]
    monkeypatch.setattr(in_order, "usable_cores", lambda: 1)
    assert jobs_for(None, 1000) == 1
