"""A git revision of a clone as an `OldTree`.

A clone may belong to a stranger, so it is read by three plumbing commands alone (``rev-parse``, ``ls-tree``,
``cat-file``), with an environment that was built from nothing. Nothing is checked out, and nothing that a repository
configures is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping

from viscy_compat.errors import SourceUnavailable, UsageError
from viscy_compat.layout import printable
from viscy_compat.old_code.programs import run_program
from viscy_compat.old_code.tree import (
    COMPILED,
    LARGEST_FILE,
    MOST_FILES,
    PROJECT,
    UPSTREAM,
    UPSTREAM_FOLDER,
    OldTree,
    blob_id,
)

REVISION = "fe7a5da^"
"""The last commit before the monorepo (2026-02-03)."""

_SECONDS = 120
"""For one git command: on VisCy's clone each takes milliseconds, and a network disc may take many times as long."""


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
        fix = "name a VisCy clone with --repo"
        raise SourceUnavailable("there is no such folder", where=place, fix=fix, code="VC601")
    if not trust and (owner := _foreign_owner(place)):
        fix = "if you trust it, add --trust-repo"
        raise SourceUnavailable(f"{owner} belongs to another user", where=place, fix=fix, code="VC601")
    with tempfile.TemporaryDirectory(prefix="viscy-compat-git-") as home:
        return _Clone(place, rev, home, trust=trust).tree()


class _Clone:
    """Three plumbing commands on one repository; what they cannot give is refused, in words of ours."""

    def __init__(self, place: str, rev: str, home: str, *, trust: bool) -> None:
        self._place, self._rev, self._path = place, rev, os.path.realpath(place)
        self._environment = _environment(self._path, home)
        # both settings of a clone name programs that git starts, and what stands on the command line outweighs them
        self._options = ["-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false"]
        # git itself refuses the clone of another user (since 2.35.2)
        if trust:
            self._options += ["-c", f"safe.directory={self._path}"]

    def tree(self) -> OldTree:
        """Return the Python files of the revision."""
        status, shallow = self._git("rev-parse", "--is-shallow-repository")
        if status:
            raise self._refusal("is no git repository", "name the top folder of a VisCy clone with --repo", "VC601")
        status, commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._rev}^{{commit}}")
        fetch = f"git -C {self._place} fetch"
        if status and shallow.strip() == b"true":
            raise self._refusal(f"the clone is shallow and lacks {self._rev}", f"'{fetch} --unshallow'")
        if status:
            raise self._refusal(f"there is no commit {self._rev}", f"'{fetch} --tags', or name another --rev")
        name = commit.decode().strip()
        status, listing = self._git("ls-tree", "-r", "-z", "--full-tree", name)
        if status:
            fix = f"'{fetch} --refetch', or use --wheel"
            raise self._refusal(f"objects of {self._rev} are missing or damaged", fix)
        return self._tree_of(name, listing)

    def _tree_of(self, commit: str, listing: bytes) -> OldTree:
        entries = [_entry(line) for line in listing.split(b"\0") if line]
        if len(entries) > MOST_FILES:
            raise self._refusal(f"{self._rev} has more than {MOST_FILES} files", "name another --rev")
        # 100644 and 100755 are files; 120000 is a link, whose content is the name of another file
        python = {path: id_ for mode, id_, path in entries if mode.startswith("100") and path.endswith(".py")}
        roots = (f"{PROJECT}/", f"{UPSTREAM_FOLDER}{UPSTREAM}/")
        mine = {path.removeprefix(UPSTREAM_FOLDER): id_ for path, id_ in python.items() if path.startswith(roots)}
        rest = [path for mode, _, path in entries if not mode.startswith("100") or COMPILED.search(path)]
        contents = self._contents(mine)
        return OldTree(
            kind="git",
            place=self._place,
            revision=commit,
            asked=self._rev,
            contents=contents,
            absent=frozenset(set(mine) - set(contents)),
            others=tuple(sorted(path for path in python if not path.startswith(roots))),
            unread=tuple(path.removeprefix(UPSTREAM_FOLDER) for path in rest if path.startswith(roots)),
        )

    def _contents(self, ids: Mapping[str, str]) -> dict[str, bytes]:
        """Read the files that are there and of a sane size; each content must have the id that names it."""
        if not ids:
            return {}
        # sizes first: what is too large is not printed into our memory at all
        _, listing = self._git("cat-file", "--batch-check", lines=ids.values())
        sizes = [line.split() for line in listing.decode().splitlines()]
        good = {row[0] for row in sizes if len(row) == 3 and row[1] == "blob" and int(row[2]) <= LARGEST_FILE}
        wanted = {path: id_ for path, id_ in ids.items() if id_ in good}
        _, stream = self._git("cat-file", "--batch", lines=wanted.values())
        blobs = _blobs_in(stream)
        return {path: blobs[id_] for path, id_ in wanted.items() if id_ in blobs}

    def _git(self, *words: str, lines: Iterable[str] = ()) -> tuple[int, bytes]:
        program = shutil.which("git", path=self._environment["PATH"])
        if not program:
            fix = "install git, or leave --repo out to use the released wheel"
            raise self._refusal("git is not installed", fix, "VC601")
        command, text = [program, *self._options, *words], "".join(f"{line}\n" for line in lines).encode()
        try:
            done = run_program(command, seconds=_SECONDS, text=text, cwd=self._path, env=self._environment)
        except (OSError, subprocess.TimeoutExpired) as error:
            took_long = isinstance(error, subprocess.TimeoutExpired)
            message = f"git gave no answer within {_SECONDS} s" if took_long else f"git cannot be started ({error})"
            raise self._refusal(message, "", "VC601") from error
        return done.exit_code, done.out

    def _refusal(self, message: str, fix: str, code: str = "VC602") -> SourceUnavailable:
        """Git's own messages are not passed on: they are of many versions and languages, and may hold anything."""
        return SourceUnavailable(printable(message), where=self._place, fix=fix, code=code)


def _foreign_owner(place: str) -> str:
    """Return the part of a clone that another user owns; empty where there is none, or no such notion."""
    if not hasattr(os, "geteuid"):
        return ""
    # under sudo git takes the user who called it for the owner, too
    mine = {os.geteuid(), int(os.environ["SUDO_UID"]) if os.environ.get("SUDO_UID", "").isdigit() else os.geteuid()}
    for path in (place, os.path.join(place, ".git")):
        if os.path.lexists(path) and os.lstat(path).st_uid not in mine and os.stat(path).st_uid not in mine:
            return path
    return ""


def _environment(path: str, folder: str) -> dict[str, str]:
    """Build git's environment from nothing: no configuration but the clone's, no network, no prompts, no hooks."""
    # git runs inside the clone: an entry like `.` would find a program that lies there
    absolute = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    # without the first nothing starts on Windows; a git of one's own may find its libraries by the second
    taken_over = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **taken_over,
        "PATH": os.pathsep.join(absolute),
        "HOME": folder,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        # a folder inside somebody's repository is not that repository
        "GIT_CEILING_DIRECTORIES": os.path.dirname(path),
        # a partial clone would fetch what it lacks; an older git knows the second of these alone
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        # refs/replace and grafts show one object under the name of another
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        # reading writes nothing into a stranger's clone, not even a fresher index
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _entry(line: bytes) -> tuple[str, str, str]:
    facts, _, path = line.partition(b"\t")
    mode, _, id_ = facts.decode().split(" ")
    return mode, id_, path.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()


def _blobs_in(stream: bytes) -> dict[str, bytes]:
    """Take apart what ``cat-file --batch`` prints, and keep what has the id that it is called by."""
    found: dict[str, bytes] = {}
    place = 0
    while (end := stream.find(b"\n", place)) >= 0:
        words = stream[place:end].decode().split()
        place = end + 1
        # of an object that is not there one line says so, and no content follows
        if len(words) != 3:
            continue
        content = stream[place : place + int(words[2])]
        place += len(content) + 1
        # a repository of the newer object format names contents by SHA-256, with the same header before them
        sha256 = hashlib.sha256(b"blob %d\0" % len(content) + content)
        if words[0] in (blob_id(content), sha256.hexdigest()):
            found[words[0]] = content
    return found
