"""Two workers side by side: the old classes in one, the candidate in the other, each building the same cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from viscy_compat.architectures.architecture import Architecture
from viscy_compat.errors import SourceUnavailable
from viscy_compat.layout import printable
from viscy_compat.old_code.origin import OldClass
from viscy_compat.workers.answers import ClassDescription, Run, WorkerAnswer, read_answer, read_description
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Conditions, Crew, Device, Side, Worker, WorkerLimits

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """How workers are started.

    Parameters
    ----------
    legacy_python, candidate_python : str, optional
        Interpreters; the running one by default.
    limits : WorkerLimits
        Time and memory of each worker.
    jobs : int
        How many workers compute at once; with one, the candidate follows the old side.
    cache : int
        How many built models each worker keeps for further requests.
    device : {"cpu", "cuda"}
        Where both compute.
    crew : Crew
        Who can end all workers that are started so.
    pair : Pair, optional
        Two workers that are running for several purposes; then none is started.
    """

    legacy_python: str | None = None
    candidate_python: str | None = None
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    jobs: int = 2
    cache: int = 1
    device: Device = "cpu"
    crew: Crew = field(default_factory=Crew)
    pair: Pair | None = None


class Sides:
    """Both workers. They import the stack at the same time; `both` lets them compute at the same time."""

    def __init__(self, old: Worker, candidate: Worker, package: Candidate, *, at_once: bool) -> None:
        self._old, self._candidate, self._package, self._at_once = old, candidate, package, at_once
        self._named: set[str] = set()

    def are(self, old: Worker, candidate: Worker) -> bool:
        """Whether these are the two."""
        return self._old is old and self._candidate is candidate

    @property
    def conditions(self) -> tuple[Conditions, Conditions]:
        """Under what conditions the two compute."""
        return self._old.conditions, self._candidate.conditions

    def take(self, package: Candidate) -> None:
        """Let another candidate take the place of the one that was started with."""
        package.prepare(self._candidate)
        self._package = package

    def describe(self, architecture: Architecture, old: OldClass) -> tuple[ClassDescription, ClassDescription]:
        """Return both constructors, once the old source is known to its worker.

        Raises
        ------
        SourceUnavailable
            The old class cannot be imported.
        """
        name = source_name(architecture, old)
        # the files of a class are sent once, however many cases it has
        if name not in self._named:
            root = old.generation.module.partition(".")[0]
            self._old.source(name, root=root, files=old.source.files, pretrained=False)
            self._named.add(name)
        json = self._old.request({"op": "class", "source": name, "class": old.target})
        ours = read_description(json, self._old.side)
        if ours.error:
            message = f"cannot import {old.target} ({printable(str(ours.error))})"
            fix = "name the classes that are there, or an interpreter that has what it needs (--legacy-python)"
            raise SourceUnavailable(message, where=old.title, fix=fix, code="VC602")
        return ours, self._package.describe(self._candidate, architecture)

    def both(self, runs: Sequence[tuple[Run, Run]]) -> Iterator[tuple[WorkerAnswer, WorkerAnswer]]:
        """Run pairs of requests, and give their answers as they come."""
        if not self._at_once:
            ours = _ask_all(self._old, [old for old, _ in runs])
            theirs = _ask_all(self._candidate, [new for _, new in runs])
            yield from zip(ours, map(self._check, theirs), strict=True)
            return
        for old, new in runs:
            self._old.send(old.to_json())
            self._candidate.send(new.to_json())
        for old, new in runs:
            mine = read_answer(self._old.receive(), "old", old)
            yield mine, self._check(read_answer(self._candidate.receive(), "candidate", new))

    def candidate(self, run: Run) -> WorkerAnswer:
        """Run a request on the candidate's side alone."""
        return self._check(read_answer(self._candidate.request(run.to_json()), "candidate", run))

    def _check(self, answer: WorkerAnswer) -> WorkerAnswer:
        return self._package.check(self._candidate, answer)


def source_name(architecture: Architecture, old: OldClass) -> str:
    """Return the name under which the old worker knows the files of a class."""
    return f"{old.title} {architecture.name}"


class Pair:
    """A worker for each side, which serve one run after the other: started when first asked for, and anew where one died.

    Parameters
    ----------
    setup : Setup
        How they are started.
    package : Candidate
        What the candidate's side imports.
    candidate, old : Worker, optional
        Running workers; they are not ended here.
    """

    def __init__(
        self, setup: Setup, package: Candidate, candidate: Worker | None = None, old: Worker | None = None
    ) -> None:
        self._setup, self._package, self._crew = setup, package, setup.crew
        given: dict[Side, Worker | None] = {"candidate": candidate, "old": old}
        self._workers = {side: worker for side, worker in given.items() if worker}
        self._prepared: Worker | None = None
        self._both: Sides | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def old(self) -> Worker:
        """The worker of the old classes.

        Raises
        ------
        MissingExtra, WorkerFailed
            It cannot be started.
        """
        return self._worker("old", self._setup.legacy_python)

    @property
    def candidate(self) -> Worker:
        """The candidate's worker, with the candidate at hand.

        Raises
        ------
        MissingExtra, WorkerFailed
            It cannot be started, or has another candidate than the one that is meant.
        """
        worker = self._worker("candidate", self._setup.candidate_python)
        if worker is not self._prepared:
            self._package.prepare(worker)
            self._prepared = worker
        return worker

    @contextmanager
    def under(self, crew: Crew) -> Iterator[None]:
        """Let a crew end both workers for a while, those that are started meanwhile too."""
        before, self._crew = self._crew, crew
        try:
            for worker in self._workers.values():
                crew.add(worker)
            yield
        finally:
            # a crew that was ended, since one of its runs failed, takes no more workers: the next run has its own
            self._crew = before

    def sides(self) -> Sides:
        """Return both, for whoever compares them."""
        # both import the stack at the same time
        old, candidate = self.old, self.candidate
        if self._both is None or not self._both.are(old, candidate):
            self._both = Sides(old, candidate, self._package, at_once=self._setup.jobs > 1)
        return self._both

    def _worker(self, side: Side, python: str | None) -> Worker:
        if side not in self._workers or self._workers[side].is_over:
            setup = self._setup
            fresh = Worker(side, python=python, cache=setup.cache, limits=setup.limits, device=setup.device)
            self._workers[side] = self._stack.enter_context(fresh)
            # before anything is asked of it: the answer comes once the stack is imported, and an interrupt does not wait for that
            self._crew.add(fresh)
        return self._workers[side]


@contextmanager
def sides(setup: Setup, package: Candidate) -> Iterator[Sides]:
    """Take the pair that there is, or start both workers, and end them whatever happens."""
    with ExitStack() as stack:
        pair = setup.pair or stack.enter_context(Pair(setup, package))
        stack.enter_context(pair.under(setup.crew))
        yield pair.sides()


def _ask_all(worker: Worker, runs: Sequence[Run]) -> list[WorkerAnswer]:
    return [read_answer(worker.request(run.to_json()), worker.side, run) for run in runs]
