"""The candidate: which package is meant, and whether the worker imported that one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from glob import glob

from viscy_compat.architectures.architecture import Architecture
from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.layout import printable
from viscy_compat.workers.answers import ClassDescription, Raised, WorkerAnswer, read_description
from viscy_compat.workers.environment import CandidatePlace, fault, import_failure
from viscy_compat.workers.worker import Worker

PACKAGE = "viscy_models"
_SOURCE = "candidate"


@dataclass(frozen=True)
class Candidate:
    """The package that is compared with the old classes.

    Parameters
    ----------
    name : str
        Its import name.
    folder : str
        The folder that comes first on the path of its worker; empty for an installed package.
    """

    name: str = PACKAGE
    folder: str = ""

    @property
    def title(self) -> str:
        """What a headline calls it."""
        return f"{self.name} in {self.folder}" if self.folder else self.name

    def target(self, architecture: Architecture) -> str:
        """Return the class for a worker.

        Examples
        --------
        >>> from viscy_compat.architectures import find
        >>> Candidate("their_models").target(find("BetaVae25D"))
        'their_models.vae:BetaVae25D'
        """
        module, _, name = architecture.target.rpartition(".")
        return f"{self.name}{module.removeprefix(PACKAGE)}:{name}"

    def prepare(self, worker: Worker) -> None:
        """Tell a worker where the candidate is, and make sure that it can be imported from there.

        Raises
        ------
        WorkerFailed
            The interpreter has no such package, or has another one of that name, or importing it raises.
        MissingExtra
            The interpreter lacks what the package needs, its own metadata included.
        """
        worker.source(_SOURCE, root=self.name, folder=self.folder or None)
        found = self._ask(worker, self.name)
        # a module of the package that is not there is its own fault
        root = self.name.partition(".")[0]
        is_absent = found.error and found.error.type == "ModuleNotFoundError" and f"'{root}'" in found.error.message
        if found.error and is_absent:
            message = f"{worker.python} cannot import {self.name} ({printable(found.error.message)})"
            raise WorkerFailed(message, where="--candidate", fix="name a folder or an installed package", code="VC604")
        if found.error:
            raise import_failure(found.error, self._place(worker))
        # an installed package of that name, or one that a .pth names, may have come first; links are looked through
        if self.folder and not os.path.realpath(found.file).startswith(os.path.realpath(self.folder) + os.sep):
            message = f"asked for {self.title}, but {printable(found.file)} was imported"
            raise WorkerFailed(message, where="--candidate", code="VC604")

    def describe(self, worker: Worker, architecture: Architecture) -> ClassDescription:
        """Return how the worker sees the class; raises `MissingExtra` where its environment lacks what it needs."""
        return self.describe_target(worker, self.target(architecture))

    def describe_target(self, worker: Worker, target: str) -> ClassDescription:
        """Return how the worker sees a class; raises `MissingExtra` where its environment lacks what it needs."""
        found = self._ask(worker, target)
        self.refuse_faults(worker, [found.error])
        return found

    def home(self, worker: Worker) -> str:
        """Return the folder of the package, as the worker imported it."""
        return os.path.dirname(self._ask(worker, self.name).file)

    def refuse_faults(self, worker: Worker, errors: Iterable[Raised | None]) -> None:
        """Raise `MissingExtra` where one of these errors says that the environment lacks something."""
        for error in errors:
            found = fault(error, self._place(worker)) if error else None
            if found:
                raise found

    def check(self, worker: Worker, answer: WorkerAnswer) -> WorkerAnswer:
        """Return an answer of the candidate; raises `MissingExtra` where it tells of the environment, not of the code."""
        passes = [one for one in answer.passes.values() if isinstance(one, Raised)]
        self.refuse_faults(worker, [answer.error, *passes])
        return answer

    def _ask(self, worker: Worker, target: str) -> ClassDescription:
        return read_description(worker.request({"op": "class", "source": _SOURCE, "class": target}), worker.side)

    def _place(self, worker: Worker) -> CandidatePlace:
        return CandidatePlace(self.name, self.folder, worker.python, worker.conditions.python)


def read_candidate(asked: str = PACKAGE) -> Candidate:
    """Read ``--candidate``: the name of a package, or a folder that holds a package ``viscy_models``.

    Raises
    ------
    UsageError
        It is neither.

    Examples
    --------
    >>> read_candidate("viscy_models").folder
    ''
    """
    # a folder before a name: one that is called like a package is what lies here
    if _holds_package(asked):
        return Candidate(PACKAGE, os.path.abspath(asked))
    near = _near(asked)
    if all(part.isidentifier() for part in asked.split(".")) and not near:
        return Candidate(asked)
    fix = f"did you mean {printable(near)}?" if near else "name an importable package, or a folder that holds one"
    raise UsageError(f"there is no package {PACKAGE} in {printable(asked)!r}", where="--candidate", fix=fix)


def _near(asked: str) -> str:
    """Return a folder above or below this one that holds the package; a name that is no folder has none."""
    if not os.path.isdir(asked) or asked == PACKAGE:
        return ""
    absolute = os.path.isabs(asked)
    places = [os.path.dirname(os.path.abspath(asked)), *(f"{asked}/{depth}src" for depth in ("", "*/", "*/*/"))]
    found = [place for pattern in places for place in sorted(glob(pattern)) if _holds_package(place)]
    return (found[0] if absolute else os.path.relpath(found[0])) if found else ""


def _holds_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, PACKAGE, "__init__.py"))
