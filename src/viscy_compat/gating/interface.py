"""Stage ``interface``: the public names of the package can be imported, and old calls of the constructors still work.

Where the interpreter has no torch and only the static half is asked for, the package is read as text instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from viscy_compat.architectures import migrated_names
from viscy_compat.architectures.architecture import REQUIRED, Architecture, Signature
from viscy_compat.comparison.signatures import signature_failures
from viscy_compat.errors import MissingExtra
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.gating.source_tree import COMPUTED, SourceTree, tree_of
from viscy_compat.gating.stage import Setting, StageResult, Workshop
from viscy_compat.workers.answers import Parameter, read_names
from viscy_compat.workers.candidate import PACKAGE

NAME = "interface"

PROMISED = (
    "viscy_models.contrastive.encoder:projection_mlp",
    "viscy_models.vae.beta_vae_25d:VaeUpStage",
    "viscy_models.vae.beta_vae_25d:VaeEncoder",
    "viscy_models.vae.beta_vae_25d:VaeDecoder",
)
"""Names besides the classes that other packages import, where a project's configuration does not list its own.

A class itself is promised in its module and at the top. What is private (a part of its path begins with ``_``) is the
candidate's own business.
"""


class Package(Protocol):
    """A way to look at the candidate."""

    def errors(self, names: Sequence[str]) -> Mapping[str, str]:
        """Say of each name why it cannot be imported; empty where it can."""

    def signature(self, architecture: Architecture) -> Sequence[Parameter] | None:
        """Return the constructor of a class; None where it cannot be told."""

    def tree(self) -> SourceTree | None:
        """Return the source of the package, where it lies in a folder."""


class Imported:
    """The candidate as its worker imports it."""

    def __init__(self, workshop: Workshop) -> None:
        self._candidate, self._worker = workshop.setting.candidate, workshop.worker

    def errors(self, names: Sequence[str]) -> Mapping[str, str]:
        """Let the worker import each; raises `MissingExtra` where its environment lacks something."""
        asked = {"op": "names", "source": "candidate", "names": list(names)}
        raised = read_names(self._worker.request(asked), "candidate", names)
        if any(raised.values()):
            self._candidate.refuse_faults(self._worker, raised.values())
        return {name: f"{row.type}: {row.message}" if row else "" for name, row in raised.items()}

    def signature(self, architecture: Architecture) -> Sequence[Parameter]:
        """Ask the worker."""
        return self._candidate.describe(self._worker, architecture).signature

    def tree(self) -> SourceTree | None:
        """Read the files that the worker imports."""
        home = self._candidate.home(self._worker)
        return SourceTree(self._candidate.name, Path(home)) if os.path.isdir(home) else None


class Read:
    """The candidate as its files say it is."""

    def __init__(self, setting: Setting) -> None:
        self._candidate = setting.candidate
        self._tree = tree_of(setting.candidate.name, setting.candidate.folder)

    def errors(self, names: Sequence[str]) -> Mapping[str, str]:
        """Look each name up in the source."""
        return {name: "" if self._tree.find(name) else "no module of the package defines it" for name in names}

    def signature(self, architecture: Architecture) -> Sequence[Parameter] | None:
        """Read the constructor."""
        found = self._tree.find(self._candidate.target(architecture))
        return self._tree.signature(found) if found else None

    def tree(self) -> SourceTree:
        """Return the source."""
        return self._tree


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class, and one for the other names."""
    setting = workshop.setting
    package = _package(workshop)
    for architecture in setting.classes:
        absent = list(_absent_names(setting, package, _names_of(architecture)))
        # a class that cannot be imported has no constructor to compare
        changes = [] if absent else list(_signature_changes(package, architecture))
        yield StageResult(NAME, architecture.name, (*absent, *changes))
    names = PROMISED if setting.names is None else setting.names
    findings = [*_absent_names(setting, package, names)]
    tree = package.tree()
    judged_ones = {*migrated_names(), *(row.name.rpartition(".")[2] for row in setting.strangers)}
    # a class that the package exports and no stage looks at would pass unseen
    beyond = [name for name in (tree.classes() if tree else ()) if name not in judged_ones]
    if beyond:
        findings.append(
            Finding("VC341", f"exported and not judged: {', '.join(beyond)}", fix=CATALOGUE["VC341"].remedy)
        )
    yield StageResult(NAME, "", tuple(findings), details={"names": list(names)})


def parameters(signature: Signature) -> tuple[Parameter, ...]:
    """Return a recorded constructor as a worker would describe it.

    Examples
    --------
    >>> [str(row) for row in parameters(Signature((("width", REQUIRED), ("depth", 3)), keywords=True))]
    ['width', 'depth=3', 'kwargs']
    """
    rows = [
        Parameter(name, "POSITIONAL_OR_KEYWORD", default is not REQUIRED, None if default is REQUIRED else default)
        for name, default in signature.arguments
    ]
    return (*rows, *([Parameter("kwargs", "VAR_KEYWORD", False, None)] if signature.keywords else []))


def _package(workshop: Workshop) -> Package:
    try:
        return Imported(workshop)
    except MissingExtra as error:
        if not workshop.setting.reads_instead(error):
            raise
        return Read(workshop.setting)


def _names_of(architecture: Architecture) -> tuple[str, ...]:
    module, _, name = architecture.target.rpartition(".")
    # upstream exports its own classes from their room alone
    return (f"{module}:{name}",) if architecture.install else (f"{PACKAGE}:{name}", f"{module}:{name}")


def _absent_names(setting: Setting, package: Package, names: Sequence[str]) -> Iterator[Finding]:
    mine = [setting.candidate.name + name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else name for name in names]
    for name, error in package.errors(mine).items():
        if error:
            message = f"{name.replace(':', '.')} cannot be imported ({error})"
            yield Finding("VC312", message, (name,), CATALOGUE["VC312"].remedy)


def _signature_changes(package: Package, architecture: Architecture) -> Iterator[Finding]:
    old = parameters(architecture.generations[-1].releases[-1].signature)
    before = {row.name: row for row in old}
    new = package.signature(architecture)
    # a default that only running the code would tell is taken for the old one: nothing is known against it
    rows = [before.get(row.name, row) if row.default == COMPUTED else row for row in new or ()]
    for failure in signature_failures(old, rows) if new is not None else ():
        yield Finding(failure.code, failure.message, failure.keys, CATALOGUE[failure.code].remedy)
