"""One pair of workers for several runs: started when asked for, anew where one died, ended together; a given one is kept."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import pytest

from viscy_compat.workers import sides as module
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.sides import Pair, Setup, sides
from viscy_compat.workers.worker import Worker, WorkerLimits


class Stub:
    """A worker that only says what becomes of it."""

    made: list[Stub]

    def __init__(self, side: str, *, python: str | None = None, **options: Any) -> None:
        self.side, self.python, self.options, self.is_over, self.is_closed = side, python, options, False, False
        self.made.append(self)

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = self.is_over = True

    def end(self) -> None:
        self.is_over = True


class Told(Candidate):
    """A candidate that notes which workers it was told to."""

    def prepare(self, worker: Worker) -> None:
        PREPARED.append(cast("Stub", worker))


PREPARED: list[Stub] = []


@pytest.fixture(autouse=True)
def stubs(monkeypatch: pytest.MonkeyPatch) -> list[Stub]:
    PREPARED.clear()
    Stub.made = []
    monkeypatch.setattr(module, "Worker", Stub)
    return Stub.made


def test_a_pair_starts_what_is_asked_for_once_and_ends_it(stubs: list[Stub]) -> None:
    setup = Setup("old-python", "new-python", WorkerLimits(request=7.0), cache=3)
    with Pair(setup, Told()) as pair:
        assert stubs == []
        candidate = pair.candidate
        assert [(one.side, one.python) for one in stubs] == [("candidate", "new-python")]
        both = pair.sides()
        assert (pair.sides(), pair.candidate) == (both, candidate)
        assert [(one.side, one.python) for one in stubs] == [("candidate", "new-python"), ("old", "old-python")]
        assert [one.options for one in stubs] == [{"cache": 3, "limits": setup.limits, "device": "cpu"}] * 2
        assert stubs[:1] == PREPARED
    assert all(one.is_closed for one in stubs)


@pytest.mark.parametrize("side", ["candidate", "old"])
def test_a_worker_that_died_is_started_anew_and_told_of_the_candidate(side: str, stubs: list[Stub]) -> None:
    with Pair(Setup(), Told()) as pair:
        before = pair.sides()
        next(one for one in stubs if one.side == side).is_over = True
        assert pair.sides() is not before
        assert [one.side for one in stubs].count(side) == 2
        assert len(stubs) == 3
        assert [one.side for one in PREPARED] == ["candidate"] * (2 if side == "candidate" else 1)


def test_a_given_worker_is_used_and_not_ended(stubs: list[Stub]) -> None:
    given = cast("Worker", Stub("candidate"))
    with Pair(Setup(), Told(), given) as pair:
        assert pair.candidate is given
        pair.sides()
    assert [(one.side, one.is_closed) for one in stubs] == [("candidate", False), ("old", True)]


def test_a_run_takes_the_pair_that_there_is_and_its_crew_can_end_it(stubs: list[Stub]) -> None:
    with Pair(Setup(), Told()) as pair:
        for _ in range(3):
            setup = Setup(pair=pair)
            with sides(setup, Told()) as both:
                assert both is pair.sides()
            assert not any(one.is_over for one in stubs)
        assert len(stubs) == 2
        setup.crew.end()
        assert all(one.is_over for one in stubs)


@pytest.mark.parametrize("shared", [True, False])
def test_an_interrupt_does_not_wait_for_a_worker_that_is_still_starting(shared: bool, stubs: list[Stub]) -> None:
    with Pair(Setup(), Told()) as pair:
        setup = Setup(pair=pair if shared else None)

        class Interrupted(Candidate):
            def prepare(self, worker: Worker) -> None:
                # what waits here for the import of the stack is told that there will be no answer
                setup.crew.end()
                assert [one.is_over for one in stubs] == [True, True]
                raise KeyboardInterrupt

        if shared:
            pair._package = Interrupted()
        with pytest.raises(KeyboardInterrupt), sides(setup, Interrupted()):
            pass


def test_what_one_run_ended_is_started_anew_for_the_next(stubs: list[Stub]) -> None:
    with Pair(Setup(), Told()) as pair:
        for count in (2, 4):
            setup = Setup(pair=pair)
            with sides(setup, Told()):
                setup.crew.end()
            assert len(stubs) == count


def test_a_worker_that_no_run_asks_for_is_started_anew_after_a_run_that_failed(stubs: list[Stub]) -> None:
    with Pair(Setup(), Told()) as pair:
        setup = Setup(pair=pair)
        with suppress(KeyboardInterrupt), sides(setup, Told()):
            setup.crew.end()
            raise KeyboardInterrupt
        # it was refused for the reason that it was not needed any more
        assert [cast("Stub", pair.old), cast("Stub", pair.candidate)] == stubs[2:]
        assert [one.is_over for one in stubs] == [True, True, False, False]


def test_a_run_without_a_pair_has_workers_of_its_own_and_ends_them_whatever_happens(stubs: list[Stub]) -> None:
    with suppress(KeyboardInterrupt), sides(Setup(), Told()):
        raise KeyboardInterrupt
    assert [one.is_closed for one in stubs] == [True, True]
