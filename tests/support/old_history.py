"""A git repository assembled from the released wheels: real old code under git, with nothing else at hand."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

from support.old_checkpoints import wheel

RELEASES = ("0.2.1", "0.3.4", "0.4.0")


def git(folder: Path, *words: str, **variables: str) -> str:
    """Run git in a folder, with nobody's configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    people = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-02-03T00:00:00Z")
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    environment = {**kept, **people, **dates, **alone, **variables}
    done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout


def assemble(folder: Path) -> Path:
    """Commit each release's package, tag it ``v...``, and end with a commit that moves it away, tagged ``fe7a5da``.

    The default revision ``fe7a5da^`` then names the newest release, as it does in the real history.
    """
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    # so that partial clones can be made of it
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    for release in RELEASES:
        _unpack(release, folder)
        _commit(folder, f"release {release}", f"v{release}")
    git(folder, "mv", "viscy", "applications")
    _commit(folder, "move to a monorepo", "fe7a5da")
    return folder


def _unpack(release: str, folder: Path) -> None:
    if (folder / "viscy").exists():
        git(folder, "rm", "-rq", "viscy")
    with zipfile.ZipFile(wheel(release)) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("viscy/")])


def _commit(folder: Path, message: str, tag: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    git(folder, "tag", tag)
