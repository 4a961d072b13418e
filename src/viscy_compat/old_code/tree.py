"""One state of the old code as files, told apart by their git blob ids; of them, those that a class imports.

Where they come from is the business of `git` and `wheel`. They are handed on and never stored.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.util import decode_source
from typing import Literal

from viscy_compat.errors import SourceUnavailable
from viscy_compat.layout import printable

PROJECT = "viscy"
"""The name of the old distribution, and of the package in it."""

UPSTREAM = "viscy_models"
UPSTREAM_FOLDER = "packages/viscy-models/src/"
"""The package of upstream's monorepo that holds the classes, and where its repository has it."""

MOST_FILES = 50_000
"""Files of one state: thirty times as many as any state of VisCy has (1,606), so that no clone fills the memory."""

LARGEST_FILE = 2 << 20
"""Bytes of one file: twenty times the largest Python file of VisCy (90 kB), so that none fills the memory."""

COMPILED = re.compile(r"(?:\.[^/.]+)*\.(?:so|pyd|pyc)$")
"""How the name of a file ends that Python imports and nobody can read: an extension module, or byte code."""


@dataclass(frozen=True)
class OldSource:
    """The files that one old class needs, under their old paths.

    Parameters
    ----------
    files : Mapping[str, str]
        Texts by path.
    blobs : Mapping[str, str]
        Git blob ids of the same paths, computed from the texts' bytes.
    unread : tuple[str, ...]
        What else the revision has where Python looks for these modules: compiled files, links, submodules.
    """

    files: Mapping[str, str]
    blobs: Mapping[str, str]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class OldTree:
    """The Python files of one state of the old code.

    Parameters
    ----------
    kind : {"git", "wheel"}
        Where it came from.
    place : str
        The clone's folder, or the wheel's file name.
    revision : str
        The commit id, or the released version.
    asked : str
        The revision or version as it was asked for.
    contents : Mapping[str, bytes]
        Bytes by path.
    absent : frozenset[str]
        Paths that the revision has and the clone lacks (a partial clone), and files beyond `LARGEST_FILE`.
    others : tuple[str, ...]
        Paths outside the old package, for messages.
    unread : tuple[str, ...]
        Paths of the old package that are no texts, though Python may import them: compiled files, links, submodules.
    """

    kind: Literal["git", "wheel"]
    place: str
    revision: str
    asked: str
    contents: Mapping[str, bytes]
    absent: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @cached_property
    def blobs(self) -> Mapping[str, str]:
        """Git blob ids of all contents that are there."""
        return {path: blob_id(content) for path, content in self.contents.items()}

    def holds(self, sources: Mapping[str, str]) -> bool:
        """Whether files with these paths and blob ids are there."""
        return all(self.blobs.get(path) == blob for path, blob in sources.items())

    @property
    def title(self) -> str:
        """What a headline calls it.

        Examples
        --------
        >>> OldTree("wheel", "viscy-0.4.0-py3-none-any.whl", "0.4.0", "0.4.0", {}).title
        'the released wheel viscy 0.4.0'
        >>> OldTree("git", "VisCy", "36d57f6f" * 5, "fe7a5da^", {}).title
        'git revision fe7a5da^ (36d57f6f36d5) of VisCy'
        """
        if self.kind == "wheel":
            return f"the released wheel {PROJECT} {self.revision}"
        return f"git revision {self.asked} ({self.revision[:12]}) of {self.place}"

    def source(self, module: str) -> OldSource:
        """Return the files that importing a module needs, found by reading import statements.

        Parameters
        ----------
        module : str
            Dotted name (``"viscy.representation.contrastive"``).

        Raises
        ------
        SourceUnavailable
            The module is not there, or one of its files is missing in a partial clone, or is not Python source.

        Examples
        --------
        >>> tree = OldTree("wheel", "w", "1", "1", {"viscy/a.py": b"from viscy.b import c", "viscy/b.py": b"c = 1"})
        >>> sorted(tree.source("viscy.a").files)
        ['viscy/a.py', 'viscy/b.py']
        """
        paths: dict[str, str] = {}
        names = {module}
        wanted = [self._path(module, required=True)]
        while wanted:
            path = wanted.pop()
            if path and path not in paths:
                paths[path] = self._text(path)
                found = list(_imports(path, paths[path]))
                names.update(found)
                wanted.extend(map(self._path, found))
        # byte code beside its source is not looked at: Python takes the source, and only a `__pycache__` comes before it
        behind = {path for path in self.unread if path.endswith(".pyc") and path[:-1] in self.contents}
        unread = tuple(path for path in self.unread if path not in behind and _module_at(path) in names)
        return OldSource(paths, {path: self.blobs[path] for path in sorted(paths)}, unread)

    def _path(self, module: str, *, required: bool = False) -> str:
        stem = module.replace(".", "/")
        # Python takes a package before a module of the same name
        for path in (f"{stem}/__init__.py", f"{stem}.py"):
            if path in self.contents or path in self.absent:
                return path
        if required:
            raise self._without(f"{stem}.py")
        return ""

    def _text(self, path: str) -> str:
        if path in self.absent:
            large = f"larger than {LARGEST_FILE >> 20} MB"
            if self.kind == "wheel":
                raise SourceUnavailable(f"{path} is {large}", where=self.place, fix="use another wheel")
            message = f"partial clone: the content of {path} is missing (or {large})"
            fix = f"bring it once with 'git -C {self.place} archive -o old.tar {self.asked} {PROJECT}', or use --wheel"
            raise SourceUnavailable(message, where=self.place, fix=fix)
        try:
            text = decode_source(self.contents[path])
            ast.parse(text)
        # source that is nested too deeply makes ast.parse raise one of the last two
        except (ValueError, LookupError, SyntaxError, RecursionError, MemoryError) as error:
            raise SourceUnavailable(f"{path} is not Python source ({error})", where=self.place) from error
        return text

    def _without(self, path: str) -> SourceUnavailable:
        known = {*self.contents, *self.absent, *self.others}
        same = sorted(other for other in known if other.rpartition("/")[2] == path.rpartition("/")[2])
        near = (same or get_close_matches(path, known, n=3, cutoff=0.4))[:3]
        what = f"{self.asked} has no {path}"
        fix = f"the nearest there: {', '.join(map(printable, near))}" if near else "name another --rev"
        return SourceUnavailable(what, where=self.place, fix=fix, code="VC602")


def blob_id(content: bytes) -> str:
    r"""Return the id that git gives to a file's content.

    Examples
    --------
    >>> blob_id(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _module_at(path: str) -> str:
    """Return the module that Python finds at a path which is no text: a compiled file, a link, a submodule.

    Examples
    --------
    >>> paths = ["viscy/a/b.abi3.so", "viscy/a/__init__.pyc", "viscy/a/__pycache__/b.cpython-312.pyc", "viscy/a/b"]
    >>> [_module_at(path) for path in paths]
    ['viscy.a.b', 'viscy.a', 'viscy.a.b', 'viscy.a.b']
    """
    stem = COMPILED.sub("", path.replace("/__pycache__/", "/")).removesuffix(".py")
    return stem.removesuffix("/__init__").replace("/", ".")


def _imports(path: str, text: str) -> Iterator[str]:
    """Name the modules of the old package that a file imports, and the packages that it lies in."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    package = parts if path.endswith("/__init__.py") else parts[:-1]
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))
    # everywhere, not at the top alone: an import in a function runs in a worker without our being asked again
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from _with_packages(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            # `from package import name` takes a module of that name, where there is one
            yield from _with_packages([module, *(f"{module}.{alias.name}" for alias in node.names)])


def _with_packages(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        if parts[0] in (PROJECT, UPSTREAM):
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
