"""Which source the old classes come from, and which recorded state of a class a source holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from viscy_compat.architectures.architecture import Architecture, Generation, Release
from viscy_compat.errors import SourceUnavailable, UsageError
from viscy_compat.layout import printable
from viscy_compat.old_code.git import REVISION, from_git
from viscy_compat.old_code.tree import OldSource, OldTree, blob_id
from viscy_compat.old_code.wheel import from_wheel

EMPTY = blob_id(b"")
"""The git blob id of a file without content."""


@dataclass(frozen=True)
class Wanted:
    """Where the old code shall come from, as the command line says it.

    Parameters
    ----------
    repo : str, optional
        A clone; else ``$VISCY_COMPAT_REPO``; else the released wheel.
    rev : str, optional
        A revision; ``fe7a5da^`` by default.
    wheel : str, optional
        A release.
    recorded : bool
        Compare with the recorded references alone.
    trust : bool
        Read a clone of another user.
    """

    repo: str | None = None
    rev: str | None = None
    wheel: str | None = None
    recorded: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("repo", "wheel", "recorded") if getattr(self, name)]
        if len(given) > 1:
            raise UsageError(f"--{given[0]} and --{given[1]} name two sources", fix="leave one of them out")
        if self.rev and (self.wheel or self.recorded):
            raise UsageError("--rev names a revision of a clone", fix="give --repo with it")

    @property
    def clone(self) -> str | None:
        """The clone to read, if any."""
        chosen = self.wheel or self.recorded
        return self.repo or (None if chosen else os.environ.get("VISCY_COMPAT_REPO") or None)


@dataclass(frozen=True)
class OldClass:
    """One old class: its files, and the recorded state that they are, where they are one.

    Parameters
    ----------
    generation : Generation
        The generation; the newest one where the files are of no recorded state.
    release : Release
        The recorded state; the newest one where the files are of none.
    proven : bool
        Whether the files that can be imported are those that are recorded for that state, by their git blob ids, and no
        others.
    kind : {"git", "wheel"}
        Where they came from.
    title : str
        What a headline calls that.
    revision : str
        Commit or version.
    source : OldSource
        The files.
    strange : tuple[str, ...]
        Those that are not as recorded, or there besides: why nothing is proven.
    """

    generation: Generation
    release: Release
    proven: bool
    kind: Literal["git", "wheel"]
    title: str
    revision: str
    source: OldSource
    strange: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The class for a worker."""
        return f"{self.generation.module}:{self.generation.qualname}"


UPSTREAM_REVISION = "4b62365c"
"""A state of upstream's main (2026-06) with the classes that only it has; they are the same in each since v0.5.0a1."""


def has_source(architecture: Architecture) -> bool:
    """Whether a generation of a class has old code to run; else all that is known of it was recorded."""
    return not all(generation.is_frozen for generation in architecture.generations)


def newest_with_source(architecture: Architecture) -> Generation:
    """Return the newest generation that has a source to run."""
    return [generation for generation in architecture.generations if not generation.is_frozen][-1]


def resolve(architectures: Iterable[Architecture], wanted: Wanted) -> dict[str, OldClass]:
    """Find the old class of each architecture.

    Parameters
    ----------
    architectures : Iterable[Architecture]
        The classes.
    wanted : Wanted
        Where from. With no clone and no release, each class comes from the newest wheel that is recorded for it.

    Raises
    ------
    SourceUnavailable
        A source cannot be had, or a released wheel does not hold the files that are recorded for it.
    UsageError
        A revision without a clone.
    """
    trees: dict[str, OldTree] = {}
    if wanted.clone:
        # what only upstream has is in no state before the monorepo
        usual = {True: REVISION, False: UPSTREAM_REVISION}
        rows = {architecture: wanted.rev or usual[has_source(architecture)] for architecture in architectures}
        trees = {rev: from_git(wanted.clone, rev, trust=wanted.trust) for rev in dict.fromkeys(rows.values())}
        return {architecture.name: _class_in(architecture, trees[rev]) for architecture, rev in rows.items()}
    if wanted.rev:
        raise UsageError("--rev names a revision of a clone, and no clone is given", fix="add --repo PATH")
    found = {}
    for architecture in architectures:
        version = wanted.wheel or newest_with_source(architecture).releases[-1].wheel
        tree = trees[version] = trees.get(version) or from_wheel(version)
        old = found[architecture.name] = _class_in(architecture, tree)
        wheels = {release.wheel for generation in architecture.generations for release in generation.releases}
        # a release never changes: other files than those recorded for its version are damage, or somebody's doing
        if old.revision in wheels and not old.proven:
            message = f"{old.title} does not hold the recorded files of {architecture.name}, and no others"
            message += f" ({list_few(old.strange)})"
            raise SourceUnavailable(message, fix="remove it from the cache and run again", code="VC606")
    return found


def _class_in(architecture: Architecture, tree: OldTree) -> OldClass:
    """Tell by blob ids which recorded state of a class a tree holds."""
    if not has_source(architecture):
        return old_class(architecture.generations[-1], architecture.generations[-1].releases[-1], tree)
    generations = [generation for generation in architecture.generations if not generation.is_frozen]
    states = [(generation, release) for generation in generations for release in generation.releases]
    # newest first: a class that did not change between two releases is the newer one's
    found = next((state for state in reversed(states) if tree.holds(state[1].sources)), states[-1])
    return old_class(found[0], found[1], tree)


def old_class(generation: Generation, release: Release, tree: OldTree) -> OldClass:
    """Take a class out of a tree, and say what keeps its files from being those that are recorded for a state."""
    source = tree.source(generation.module)
    strange = tuple(strange_files(source, release.sources))
    return OldClass(
        generation=generation,
        release=release,
        proven=not strange,
        kind=tree.kind,
        title=tree.title,
        revision=tree.revision,
        source=source,
        strange=strange,
    )


def strange_files(source: OldSource, sources: Mapping[str, str]) -> Iterator[str]:
    """Name every file that keeps a source from being the recorded one: changed, missing, or there besides.

    All files of a source can be imported, so any of them may change what a class does. An empty ``__init__.py`` makes a
    package, as a folder without one does: wheels have some that the history lacks. What is no text (an extension module,
    byte code, a link, a submodule) is of no recorded state, and Python may take it for one of these modules.

    Examples
    --------
    >>> source = OldSource({}, {"viscy/__init__.py": EMPTY, "viscy/a.py": "1", "viscy/b/__init__.py": "2"})
    >>> list(strange_files(source, {"viscy/a.py": "1"}))
    ['viscy/b/__init__.py']
    >>> list(strange_files(source, {"viscy/a.py": "0", "viscy/b/__init__.py": "2", "viscy/c.py": "3"}))
    ['viscy/a.py', 'viscy/c.py']
    """
    for path, blob in source.blobs.items():
        empty = blob == EMPTY and path.endswith("/__init__.py") and path not in sources
        if sources.get(path) != blob and not empty:
            yield path
    yield from (path for path in sources if path not in source.blobs)
    yield from source.unread


def list_few(paths: Sequence[str]) -> str:
    """List the first few of some files.

    Examples
    --------
    >>> list_few(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(map(printable, paths[:3])) + (", ..." if len(paths) > 3 else "")
