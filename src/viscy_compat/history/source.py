"""The old source: a git revision or a released wheel becomes source files, told apart by their git blob ids.

A clone may belong to a stranger, so it is read by three plumbing commands alone (``rev-parse``, ``ls-tree``,
``cat-file``), through GitPython's `git.Git`, in a child process whose environment was built from nothing. Nothing is
checked out, and nothing that a repository configures is run. A wheel is a zip archive that pip downloads and nobody
installs. Of both, only the files that a class imports are handed on, and never stored.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from viscy_compat.errors import SourceUnavailable, UsageError, lacking
from viscy_compat.history.children import finished
from viscy_compat.layout import printable

REVISION = "fe7a5da^"
"""The last commit before the monorepo (2026-02-03)."""

PROJECT = "viscy"
"""The name of the old distribution, and of the package in it."""

_MOST_FILES = 50_000
_LARGEST_FILE = 2 << 20
_GIT_SECONDS = 120
_PIP_SECONDS = 180
_RELEASE = set("0123456789.abrcdevpost")


@dataclass(frozen=True)
class OldSource:
    """The files that one old class needs, under their old paths.

    Parameters
    ----------
    files : Mapping[str, str]
        Texts by path.
    blobs : Mapping[str, str]
        Git blob ids of the same paths, computed from the texts' bytes.
    """

    files: Mapping[str, str]
    blobs: Mapping[str, str]


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
        Paths that the revision has and the clone lacks (a partial clone).
    others : tuple[str, ...]
        Paths outside the old package, for messages.
    """

    kind: Literal["git", "wheel"]
    place: str
    revision: str
    asked: str
    contents: Mapping[str, bytes]
    absent: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()

    @cached_property
    def blobs(self) -> Mapping[str, str]:
        """Git blob ids of all contents that are there."""
        return {path: blob_id(content) for path, content in self.contents.items()}

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
        wanted = [self._path(module, required=True)]
        while wanted:
            path = wanted.pop()
            if path and path not in paths:
                paths[path] = self._text(path)
                wanted.extend(self._path(name) for name in _imports(path, paths[path]))
        return OldSource(paths, {path: self.blobs[path] for path in sorted(paths)})

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
            fix = f"bring it once with 'git -C {self.place} archive -o old.tar {self.asked} {PROJECT}', or use --wheel"
            raise SourceUnavailable(f"partial clone: the content of {path} is missing", where=self.place, fix=fix)
        try:
            text = self.contents[path].decode()
            ast.parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
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


def from_git(repo: str | os.PathLike[str], rev: str = REVISION, *, trust: bool = False) -> OldTree:
    """Read one revision of a clone: ordinary, bare, partial with the contents present, or shallow.

    Parameters
    ----------
    repo : path
        The clone's top folder, or a bare repository.
    rev : str
        A revision.
    trust : bool
        Read a clone that belongs to somebody else.

    Raises
    ------
    SourceUnavailable
        There is no such clone or revision, the clone is shallow or lacks objects, it belongs to somebody else, or git
        is not installed. One line each.
    UsageError
        The revision starts with a dash, or holds what no revision holds.
    """
    place = os.fspath(repo)
    if not rev or rev.startswith("-") or not rev.isprintable() or ":" in rev or ".." in rev:
        raise UsageError(f"{printable(rev)!r} is no revision of one commit", where="--rev")
    if not os.path.isdir(place):
        raise SourceUnavailable(
            "there is no such folder", where=place, fix="name a VisCy clone with --repo", code="VC601"
        )
    if not trust and (owner := _foreign_owner(place)):
        fix = "if you trust it, add --trust-repo"
        raise SourceUnavailable(f"{owner} belongs to another user", where=place, fix=fix, code="VC601")
    if find_spec("git") is None:
        raise lacking("reading a clone", "GitPython", "gate")
    answer = _ask_git({"path": os.path.realpath(place), "rev": rev, "trust": trust}, place)
    if "refused" in answer:
        raise _git_refusal(place, rev, answer)
    contents = {path: base64.b64decode(content) for path, content in answer["contents"].items()}
    absent, others = frozenset(answer["absent"]), tuple(answer["others"])
    return OldTree("git", place, answer["commit"], rev, contents, absent, others)


def from_wheel(release: str) -> OldTree:
    """Read a released wheel, downloaded with pip into the cache when it is not there yet; or a wheel's file.

    Parameters
    ----------
    release : str
        A version (``"0.4.0"``), or the path of a ``.whl`` file.

    Raises
    ------
    SourceUnavailable
        No such release, no network, or the file is no wheel.
    MissingExtra
        This interpreter has no pip.
    """
    path = Path(release) if release.endswith(".whl") else _wheel(release)
    version = path.name.split("-")[1] if path.name.count("-") >= 2 else release
    return OldTree("wheel", path.name, version, release, _unzipped(path))


def cache_folder() -> Path:
    """Return the folder for downloads: ``$VISCY_COMPAT_CACHE``, else the platform's folder for caches."""
    if given := os.environ.get("VISCY_COMPAT_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "viscy-compat" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "viscy-compat"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viscy-compat"


# --- imports -----------------------------------------------------------------------------------------------------


def _imports(path: str, text: str) -> Iterator[str]:
    """Name the modules of the old package that a file imports, and the packages that it lies in."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    package = parts if path.endswith("/__init__.py") else parts[:-1]
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from _with_packages(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from _with_packages([module, *(f"{module}.{alias.name}" for alias in node.names)])


def _with_packages(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        if parts[0] == PROJECT:
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


# --- git ---------------------------------------------------------------------------------------------------------


def _foreign_owner(place: str) -> str:
    """Return the part of a clone that another user owns; empty where there is none, or no such notion."""
    if not hasattr(os, "geteuid"):
        return ""
    mine = {os.geteuid(), int(os.environ["SUDO_UID"]) if os.environ.get("SUDO_UID", "").isdigit() else os.geteuid()}
    for path in (place, os.path.join(place, ".git")):
        if os.path.lexists(path) and os.lstat(path).st_uid not in mine and os.stat(path).st_uid not in mine:
            return path
    return ""


def _ask_git(request: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Run this file's `_child` in a process of its own and return what it found."""
    home = str(Path(__file__).resolve().parents[2])
    program = "import sys; sys.path.append(sys.argv[1]); from viscy_compat.history.source import _child; _child()"
    command = [sys.executable, "-I", "-c", program, home]
    try:
        with tempfile.TemporaryDirectory(prefix="viscy-compat-git-") as folder:
            environment = _git_environment(str(request["path"]), folder)
            given = json.dumps(request).encode()
            done = finished(command, seconds=_GIT_SECONDS, given=given, cwd=folder, env=environment)
        answer: dict[str, Any] = json.loads(done.out)
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailable(f"git gave no answer within {_GIT_SECONDS} s", where=place, code="VC601") from error
    except ValueError as error:
        raise SourceUnavailable("the process that reads the clone died", where=place, code="VC601") from error
    return answer


def _git_environment(path: str, folder: str) -> dict[str, str]:
    """Build git's environment from nothing: no configuration but the clone's, no network, no prompts, no hooks."""
    absolute = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join(absolute),
        "HOME": folder,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": os.path.dirname(path),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def _git_refusal(place: str, rev: str, answer: Mapping[str, Any]) -> SourceUnavailable:
    """Word what the child found; git's own messages are not passed on."""
    fetch = f"git -C {place} fetch"
    message, fix, code = {
        "git": ("git is not installed", "install git, or leave --repo out to use the released wheel", "VC601"),
        "repository": ("is no git repository", "name the top folder of a VisCy clone with --repo", "VC601"),
        "shallow": (f"the clone is shallow and lacks {rev}", f"'{fetch} --unshallow'", "VC602"),
        "revision": (f"there is no commit {rev}", f"'{fetch} --tags', or name another --rev", "VC602"),
        "tree": (f"objects of {rev} are missing or damaged", f"'{fetch} --refetch', or use --wheel", "VC602"),
        "large": (f"{rev} has more than {_MOST_FILES} files", "name another --rev", "VC602"),
    }[answer["refused"]]
    return SourceUnavailable(printable(message), where=place, fix=fix, code=code)


def _child() -> None:
    """Answer one request about one clone; runs in the process that `_ask_git` starts."""
    request = json.load(sys.stdin)
    sys.stdout.write(json.dumps(_Plumbing(request["path"], trust=request["trust"]).answer(request["rev"])))


class _Plumbing:
    """Three plumbing commands on one repository."""

    def __init__(self, path: str, *, trust: bool) -> None:
        self._path = path
        self._options = ["-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false"]
        if trust:
            self._options += ["-c", f"safe.directory={path}"]

    def answer(self, rev: str) -> dict[str, Any]:
        """Return the commit and its Python files, or why not."""
        if not shutil.which("git"):
            return {"refused": "git"}
        status, shallow = self._git("rev-parse", "--is-shallow-repository")
        if status:
            return {"refused": "repository"}
        status, commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        if status:
            return {"refused": "shallow" if shallow.strip() == b"true" else "revision"}
        name = commit.decode().strip()
        status, listing = self._git("ls-tree", "-r", "-z", "--full-tree", name)
        if status:
            return {"refused": "tree"}
        return self._files(name, listing)

    def _files(self, commit: str, listing: bytes) -> dict[str, Any]:
        entries = [_entry(line) for line in listing.split(b"\0") if line]
        if len(entries) > _MOST_FILES:
            return {"refused": "large"}
        python = {path: id_ for mode, id_, path in entries if mode.startswith("100") and path.endswith(".py")}
        mine = {path: id_ for path, id_ in python.items() if path.startswith(f"{PROJECT}/")}
        contents = self._contents(mine)
        return {
            "commit": commit,
            "contents": {path: base64.b64encode(content).decode() for path, content in contents.items()},
            "absent": sorted(set(mine) - set(contents)),
            "others": sorted(set(python) - set(mine)),
        }

    def _contents(self, ids: Mapping[str, str]) -> dict[str, bytes]:
        """Read the files that are there and of a sane size; each content must have the id that names it."""
        if not ids:
            return {}
        _, told = self._git("cat-file", "--batch-check", lines=ids.values())
        sizes = [line.split() for line in told.decode().splitlines()]
        good = {row[0] for row in sizes if len(row) == 3 and row[1] == "blob" and int(row[2]) <= _LARGEST_FILE}
        wanted = {path: id_ for path, id_ in ids.items() if id_ in good}
        _, stream = self._git("cat-file", "--batch", lines=wanted.values())
        found = _batch(stream)
        return {path: found[id_] for path, id_ in wanted.items() if id_ in found}

    def _git(self, *words: str, lines: Iterable[str] = ()) -> tuple[int, bytes]:
        import git

        with tempfile.TemporaryFile() as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())
            stream.seek(0)
            status, out, _ = git.Git(self._path).execute(
                ["git", *self._options, *words],
                istream=stream,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        return int(status), bytes(out)


def _entry(line: bytes) -> tuple[str, str, str]:
    facts, _, path = line.partition(b"\t")
    mode, _, id_ = facts.decode().split(" ")
    return mode, id_, path.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()


def _batch(stream: bytes) -> dict[str, bytes]:
    """Take apart what ``cat-file --batch`` prints, and keep what has the id that it is called by."""
    found: dict[str, bytes] = {}
    place = 0
    while (end := stream.find(b"\n", place)) >= 0:
        words = stream[place:end].decode().split()
        place = end + 1
        if len(words) != 3:
            continue
        content = stream[place : place + int(words[2])]
        place += len(content) + 1
        if _id_of(content, words[0]) == words[0]:
            found[words[0]] = content
    return found


def _id_of(content: bytes, like: str) -> str:
    if len(like) == 40:
        return blob_id(content)
    return hashlib.sha256(b"blob %d\0" % len(content) + content).hexdigest()


# --- wheels ------------------------------------------------------------------------------------------------------


def _wheel(version: str) -> Path:
    """Return the cached wheel of a release, fetched first where it is not there."""
    if not version or not set(version) <= _RELEASE or not version[0].isdigit():
        raise UsageError(f"{printable(version)!r} is no version", where="--wheel", fix="for example --wheel 0.4.0")
    folder = cache_folder() / "wheels"
    found = sorted(folder.glob(f"{PROJECT}-{version}-*.whl"))
    return found[0] if found else _download(version, folder)


def _download(version: str, folder: Path) -> Path:
    requirement = f"{PROJECT}=={version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            _pip(requirement, fresh)
            wheel = next(Path(fresh).glob("*.whl"))
            return wheel.replace(folder / wheel.name)
    except OSError as error:
        fix = "set VISCY_COMPAT_CACHE to a folder that can be written"
        raise SourceUnavailable(
            f"the cache cannot be written ({error.strerror})", where=str(folder), fix=fix
        ) from error


def _pip(requirement: str, folder: str) -> None:
    """Download one wheel without its dependencies, with the index that pip is configured for."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    patience = ["--timeout", "10", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, *patience, "--dest", folder, requirement]
    try:
        done = finished(command, seconds=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(requirement, f"pip gave no answer within {_PIP_SECONDS} s") from error
    said = done.err.decode(errors="replace")
    if "No module named pip" in said:
        raise lacking("fetching a release", "pip", "gate")
    if done.exit_code:
        raise _unavailable(requirement, _reason(said))


def _reason(said: str) -> str:
    """Word the two causes that people meet; pip prints the same last line for both."""
    if "from versions: none" in said or "NewConnectionError" in said or "Retrying" in said or "Max retries" in said:
        return "no package index within reach"
    return "no such release on the package index" if "No matching distribution" in said else "pip could not download it"


def _unavailable(requirement: str, reason: str) -> SourceUnavailable:
    fix = "name a VisCy clone with --repo, or compare with the recorded references: --recorded"
    return SourceUnavailable(reason, where=requirement, fix=fix, code="VC601")


def _unzipped(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()[:_MOST_FILES]
            python = [info for info in members if _wanted(info)]
            return {info.filename: archive.read(info) for info in python}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SourceUnavailable("is no readable wheel", where=str(path), fix="remove the file and run again") from error


def _wanted(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    return name.startswith(f"{PROJECT}/") and name.endswith(".py") and info.file_size <= _LARGEST_FILE
