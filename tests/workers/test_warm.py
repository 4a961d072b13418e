"""A worker that is forked from a process with the stack, as many tests have theirs, is one like any other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.warm import warm_workers
from viscy_compat.errors import WorkerFailed
from viscy_compat.workers import worker
from viscy_compat.workers.worker import Worker

pytestmark = pytest.mark.torch


def test_it_computes_under_the_same_conditions_as_one_that_was_started() -> None:
    with Worker("old") as started:
        with warm_workers(), Worker("old") as forked:
            assert forked.conditions == started.conditions
            folder = forked._folder
            assert os.path.isdir(folder)
        assert not os.path.exists(folder)


def test_it_ends_when_it_is_ended_and_another_one_is_none_the_worse() -> None:
    with warm_workers(), Worker("old") as ended, Worker("old") as other:
        assert ended.conditions == other.conditions
        ended.end()
        assert ended.is_over
        with pytest.raises(WorkerFailed):
            ended.request({"op": "names", "source": "none", "names": []})
        other.source("none", root="os")
        assert other.request({"op": "names", "source": "none", "names": ["os"]}) == {"names": {"os": None}}


def test_workers_that_start_at_once_leave_nothing_behind_for_those_that_start_cold() -> None:
    before = worker._launcher
    with warm_workers(), ThreadPoolExecutor(4) as pool:
        crew = list(pool.map(Worker, ["old"] * 4))
        list(pool.map(Worker.__enter__, crew))
        list(pool.map(Worker.end, crew))
    assert worker._launcher is before
