"""A released wheel as an `OldTree`: a zip archive that pip downloads and nobody installs."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from viscy_compat.errors import SourceUnavailable, UsageError, lacking
from viscy_compat.layout import printable
from viscy_compat.old_code.programs import run_program
from viscy_compat.old_code.tree import LARGEST_FILE, MOST_FILES, PROJECT, OldTree

_SECONDS = 300
"""For one download: a wheel has 430 KB, and pip tries four times for twenty seconds each where nothing answers."""

_DATA = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/")
"""Folders of a wheel whose files pip puts into site-packages, beside those of the package itself."""

_LETTERS = set("0123456789.abrcdevpost")
"""What the name of a release is made of."""


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
    # a wheel's file is called name-version-python-abi-platform.whl
    version = path.name.split("-")[1] if path.name.count("-") >= 2 else release
    sizes, contents = _unzip(path)
    return OldTree(
        kind="wheel",
        place=path.name,
        revision=version,
        asked=release,
        contents=contents,
        absent=frozenset(name for name in sizes if _is_text(name) and name not in contents),
        unread=tuple(sorted(_installed(name) for name in sizes if not _is_text(name))),
    )


def cache_folder() -> Path:
    """Return the folder for downloads: ``$VISCY_COMPAT_CACHE``, else the platform's folder for caches."""
    if given := os.environ.get("VISCY_COMPAT_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "viscy-compat" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "viscy-compat"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viscy-compat"


def _wheel(version: str) -> Path:
    """Return the cached wheel of a release, fetched first where it is not there."""
    if not version or not set(version) <= _LETTERS or not version[0].isdigit():
        raise UsageError(f"{printable(version)!r} is no version", where="--wheel", fix="for example --wheel 0.4.0")
    folder = cache_folder() / "wheels"
    if found := sorted(folder.glob(f"{PROJECT}-{version}-*.whl")):
        return found[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # beside its place, so that it appears there whole: an interrupted download leaves no half of a wheel
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            _pip(f"{PROJECT}=={version}", fresh)
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
    patience = ["--timeout", "20", "--retries", "3"]
    command = [sys.executable, "-m", "pip", "download", *options, *patience, "--dest", folder, requirement]
    try:
        done = run_program(command, seconds=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(requirement, f"pip gave no answer within {_SECONDS} s") from error
    words = done.err.decode(errors="replace")
    if "No module named pip" in words:
        raise lacking("fetching a release", "pip", "gate")
    if not done.exit_code:
        return
    # people meet two causes, and pip prints the same last line for both
    reason = "pip could not download it"
    if "from versions: none" in words or "NewConnectionError" in words or "Retrying" in words or "Max retries" in words:
        reason = "no package index within reach"
    elif "No matching distribution" in words:
        reason = "no such release on the package index"
    raise _unavailable(requirement, reason)


def _unavailable(requirement: str, reason: str) -> SourceUnavailable:
    fix = "name a VisCy clone with --repo, or compare with the recorded references: --recorded"
    return SourceUnavailable(reason, where=requirement, fix=fix, code="VC601")


def _installed(name: str) -> str:
    """Return where pip puts a file of a wheel, seen from site-packages.

    Examples
    --------
    >>> _installed("viscy-0.4.0.data/purelib/viscy/__init__.py"), _installed("./viscy//cli.py")
    ('viscy/__init__.py', 'viscy/cli.py')
    """
    return posixpath.normpath(_DATA.sub("", name))


def _unzip(path: Path) -> tuple[dict[str, int], dict[str, bytes]]:
    """Return the sizes of all files in a wheel, and the package's texts of a sane size."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {row.filename: row.file_size for row in archive.infolist()}
            good = [name for name, size in sizes.items() if _is_text(name) and size <= LARGEST_FILE]
            if len(sizes) > MOST_FILES:
                raise SourceUnavailable(f"has more than {MOST_FILES} files", where=str(path), fix="use another wheel")
            return sizes, {name: archive.read(name) for name in good}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise SourceUnavailable("is no readable wheel", where=str(path), fix="remove the file and run again") from error


def _is_text(name: str) -> bool:
    return name.startswith(f"{PROJECT}/") and name.endswith(".py") and _installed(name) == name
