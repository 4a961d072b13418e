"""The candidate: which package is meant, and whether the worker imported that one."""

from __future__ import annotations

import os
from dataclasses import dataclass

from viscy_compat.architectures.architecture import Architecture
from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.layout import printable
from viscy_compat.proof.answers import Described, read_described
from viscy_compat.proof.workers import Worker

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
            The interpreter has no such package, or has another one of that name.
        """
        worker.source(_SOURCE, root=self.name, folder=self.folder or None)
        found = read_described(worker.request({"op": "class", "source": _SOURCE, "class": self.name}), worker.side)
        if found.error and found.error.type == "ModuleNotFoundError":
            message = f"{worker.python} cannot import {self.name} ({printable(found.error.message)})"
            raise WorkerFailed(message, where="--candidate", fix="name a folder or an installed package", code="VC604")
        if not found.error and not self._owns(found.file):
            message = f"asked for {self.title}, but {printable(found.file)} was imported"
            raise WorkerFailed(message, where="--candidate", code="VC604")

    def describe(self, worker: Worker, architecture: Architecture) -> Described:
        """Return how the worker sees the class."""
        asked = {"op": "class", "source": _SOURCE, "class": self.target(architecture)}
        return read_described(worker.request(asked), worker.side)

    def _owns(self, file: str) -> bool:
        if not self.folder:
            return True
        return os.path.realpath(file).startswith(os.path.realpath(self.folder) + os.sep)


def candidate(asked: str = PACKAGE) -> Candidate:
    """Read ``--candidate``: the name of a package, or a folder that holds a package ``viscy_models``.

    Raises
    ------
    UsageError
        It is neither.

    Examples
    --------
    >>> candidate("viscy_models").folder
    ''
    """
    if _holds_package(asked):
        return Candidate(PACKAGE, os.path.abspath(asked))
    if all(part.isidentifier() for part in asked.split(".")):
        return Candidate(asked)
    near = next((place for place in (os.path.dirname(asked.rstrip("/")), f"{asked}/src") if _holds_package(place)), "")
    fix = f"did you mean {near}?" if near else "name an importable package, or a folder that holds one"
    raise UsageError(f"there is no package {PACKAGE} in {printable(asked)!r}", where="--candidate", fix=fix)


def _holds_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, PACKAGE, "__init__.py"))
