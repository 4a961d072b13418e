"""The run of an audit: what is fresh comes from the ledger, the rest is judged, and rows come in the order of the list."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from math import isqrt
from typing import Final

from viscy_compat.errors import WorkerFailed
from viscy_compat.fleet.engines import Engine
from viscy_compat.fleet.judging import AuditQuestion
from viscy_compat.fleet.ledger import Ledger
from viscy_compat.fleet.listing import TargetSpool
from viscy_compat.fleet.row import AuditRow, line_of, row_in, row_of_failure
from viscy_compat.fleet.target import Target
from viscy_compat.layout import quote_path
from viscy_compat.version import __version__

_LOOK: Final = 5.0
"""Seconds after which an engine that answers nothing is asked whether it is still there: that costs nothing."""
_DEATHS: Final = 3
"""Files that in a row end their processes, before any was answered: then it is not the files."""


def _problem_of(future: Future[list[bytes]]) -> BaseException | None:
    """Return why a future that is done has no answer; an engine that is gone cancels what it has."""
    return CancelledError() if future.cancelled() else future.exception()


class _Batch:
    """Some files of the list that follow each other: their places in the ledger, once they are known."""

    __slots__ = ("places", "targets")

    def __init__(self, targets: Sequence[Target], places: array[int] | None = None) -> None:
        self.targets, self.places = targets, places


class Audit:
    """One run; `rows` yields what it finds, and the ledger has each row as soon as it is known.

    Attributes
    ----------
    places : array
        Where the rows that were yielded stand in the ledger, in their order.
    known : int
        How many of them an earlier run had found.
    """

    def __init__(self, question: AuditQuestion, engine: Engine, ledger: Ledger, *, fresh: bool = False) -> None:
        self._knows = not fresh
        self.places: array[int] = array("q")
        self.known = 0
        self._answers, self._deaths = 0, 0
        self._question, self._engine, self._ledger = question, engine, ledger
        self._batches: deque[_Batch] = deque()
        self._waiting: dict[Future[list[bytes]], _Batch] = {}

    def rows(self, targets: TargetSpool) -> Iterator[AuditRow]:
        """Yield the row of each file, in the order of the list."""
        shard: list[Target] = []
        for target in targets:
            place = self._ledger.find(target, __version__, self._question.mark) if self._knows else None
            if place is None:
                shard.append(target)
            if shard and (place is not None or len(shard) == self._engine.shard):
                self._submit(shard)
                shard = []
            if place is not None:
                self._remember(place)
            # no more at work than the engine asks for: a listing can be millions of files, and none is
            # held in memory
            while len(self._waiting) >= self._engine.window:
                self._settle()
            yield from self._rows_without_gap()
        if shard:
            self._submit(shard)
        self._engine.flush()
        while self._waiting:
            self._settle()
            yield from self._rows_without_gap()
        yield from self._rows_without_gap()

    def read(self) -> Iterator[AuditRow]:
        """Yield the rows of `rows` once more, out of the ledger."""
        return map(self._ledger.row, self.places)

    def _submit(self, targets: Sequence[Target]) -> None:
        batch = _Batch(targets)
        self._batches.append(batch)
        self._waiting[self._engine.submit(self._question, targets)] = batch

    def _remember(self, place: int) -> None:
        """Take a row of an earlier run; those that follow each other share a batch."""
        self.known += 1
        if not self._batches or self._batches[-1].targets:
            self._batches.append(_Batch((), array("q")))
        places = self._batches[-1].places
        assert places is not None
        places.append(place)

    def _settle(self) -> None:
        """Wait until a shard is judged, and write its rows."""
        doubtful = []
        for future in self._next_of(self._waiting):
            batch = self._waiting.pop(future)
            if _problem_of(future) is None:
                self._answers += 1
                self._write(batch, future.result())
            else:
                doubtful.append(batch)
        if not doubtful:
            return
        self._engine.renew()
        for future in list(self._waiting) if self._engine.falls_together else ():
            # what was in other processes of the same pool went down with it, or is given up with it
            if not (future.done() and _problem_of(future) is None):
                doubtful.append(self._waiting.pop(future))
        for batch in doubtful:
            self._write(batch, self._judge_again(batch.targets))

    def _next_of(self, futures: Iterable[Future[list[bytes]]]) -> set[Future[list[bytes]]]:
        """Return those that are done, one at least, as long as there is somebody who can do them."""
        while True:
            ready, _ = wait(futures, timeout=_LOOK, return_when=FIRST_COMPLETED)
            if ready:
                return ready
            self._engine.refuse_absence()

    def _judge_again(self, targets: Sequence[Target]) -> list[bytes]:
        """Judge in smaller and smaller pieces what did not come to an answer: the file that ends its process is then known."""
        if self._engine.falls_together or len(targets) == 1:
            return [self._judge_alone(target) for target in targets]
        # a thousand files alone would be a thousand jobs: the root is the fewest in two steps
        size = isqrt(len(targets))
        pieces = [targets[place : place + size] for place in range(0, len(targets), size)]
        futures = [self._engine.submit(self._question, piece) for piece in pieces]
        self._engine.flush()
        waiting = set(futures)
        while waiting:
            waiting -= self._next_of(waiting)
        lines: list[bytes] = []
        for piece, future in zip(pieces, futures, strict=True):
            if _problem_of(future) is None:
                self._answers += 1
                lines += future.result()
            else:
                self._engine.renew()
                lines += self._judge_again(piece)
        return lines

    def _judge_alone(self, target: Target) -> bytes:
        future = self._engine.submit(self._question, [target])
        self._engine.flush()
        self._next_of([future])
        problem = _problem_of(future)
        if problem is None:
            self._answers += 1
            return future.result()[0]
        if isinstance(problem, ImportError):
            raise WorkerFailed(
                f"a worker cannot import what it needs ({problem})",
                fix="install the same version of viscy-compat wherever files are read",
            ) from problem
        self._deaths += 1
        # an installation that cannot read at all would say of each file that its process died
        if self._deaths >= _DEATHS and not self._answers:
            raise WorkerFailed(
                f"no process that reads files comes to an answer ({type(problem).__name__})",
                fix=f"viscy-compat check {quote_path(target.path)} says why; --jobs 1 reads in this process",
            ) from problem
        self._engine.renew()
        return line_of(row_of_failure(target, self._question.mark, f"{type(problem).__name__}: {problem}"))

    def _write(self, batch: _Batch, lines: Sequence[bytes]) -> None:
        batch.places = array("q")
        for line in lines:
            row = row_in(line)
            if row is None or row.tool != __version__:
                version = row.tool if row else "another version"
                raise WorkerFailed(
                    f"the workers have viscy-compat {version}, and this is {__version__}",
                    fix="install the same version of viscy-compat wherever files are read",
                )
            batch.places.append(self._ledger.append(line, row))

    def _rows_without_gap(self) -> Iterator[AuditRow]:
        """Yield what is known without a gap since what was yielded last."""
        while self._batches and self._batches[0].places is not None:
            batch = self._batches.popleft()
            for place in batch.places or ():
                self.places.append(place)
                yield self._ledger.row(place)
