"""Build the page that checks checkpoints in a browser: one static folder, to be put on any host.

    python3 tools/dev.py try                   build it into build/try/
    python3 tools/dev.py try --serve           and serve it on the loopback, to look at
    python3 tools/dev.py try --test            and run its tests in headless Chromium, which is installed where possible

The folder holds the sources of docs/try/, the wheel of this clone, and Pyodide out of its npm package, whose digest is
checked here. Nothing of Pyodide is in this repository.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "docs" / "try"
OUT = ROOT / "build" / "try"
CACHE = ROOT / ".cache" / "pyodide"

PYODIDE = "314.0.7"
DIGEST = "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0"
"""SHA-256 of the npm package of that version."""

SNAPSHOT = "snapshot.bin.gz"

PARTS = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip")
"""What Pyodide needs to start; the rest of its package is for other ways of loading it."""


class NotBuilt(Exception):
    """Why the folder cannot be built, in a sentence."""


def package() -> Path:
    """Return the npm package of Pyodide, fetched with npm where it is not at hand.

    Raises
    ------
    NotBuilt
        There is no npm, it has no such package, or the package is not the one that was pinned.
    """
    path = CACHE / f"pyodide-{PYODIDE}.tgz"
    if not path.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NotBuilt("npm is not installed, and Pyodide comes from its npm package: install npm")
        CACHE.mkdir(parents=True, exist_ok=True)
        words = [npm, "pack", "--silent", f"pyodide@{PYODIDE}"]
        done = subprocess.run(words, cwd=CACHE, capture_output=True, text=True)
        if done.returncode or not path.exists():
            raise NotBuilt(f"npm has no pyodide {PYODIDE}: {done.stderr.strip()[-300:] or 'no network?'}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != DIGEST:
        raise NotBuilt(f"{path} is not the Pyodide {PYODIDE} that was pinned: its SHA-256 is {digest}. Delete it")
    return path


def wheel(folder: Path) -> Path:
    """Build the wheel of this clone into a folder."""
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def build(out: Path = OUT) -> Path:
    """Build the folder anew and return it.

    Raises
    ------
    NotBuilt
        Pyodide cannot be had.
    """
    source = package()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(SOURCES, out)
    with tarfile.open(source) as archive:
        for part in PARTS:
            member = archive.extractfile(f"package/{part}")
            assert member, part
            (out / part).write_bytes(member.read())
    with tempfile.TemporaryDirectory() as place:
        ours = shutil.copy(wheel(Path(place)), out)
    versions = {"wheel": Path(ours).name, "pyodide": PYODIDE, "snapshot": snapshot(out, Path(ours).name)}
    (out / "versions.json").write_text(json.dumps(versions) + "\n", encoding="utf-8")
    return out


def snapshot(out: Path, ours: str) -> str:
    """Keep the memory of a Python that has started, and return the file's name; nothing where there is no node to start one.

    The page is ready in a fifth of the time with it, at 7 MB more to fetch, and starts Python itself without it.
    """
    node, program = shutil.which("node"), out / "snapshot.mjs"
    words = [str(node), str(program), str(out), ours, SNAPSHOT]
    done = subprocess.run(words, capture_output=True, text=True) if node else None
    program.unlink()
    if done and done.returncode == 0:
        return SNAPSHOT
    print(
        f"[try] without a snapshot: {done.stderr.strip()[-300:] if done else 'node is not installed'}", file=sys.stderr
    )
    return ""


def serve(folder: Path) -> None:
    """Serve the folder on the loopback until Ctrl-C."""
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "8000"]
    subprocess.run(words)


def test() -> int:
    """Run the tests of the page; a machine without Chromium gets one where that is possible."""
    sys.path.insert(0, str(ROOT / "tools"))
    from look import browser

    if browser() is None:
        raise NotBuilt("no Chromium here, and none could be installed: install chromium")
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/tools/test_build_try.py"], cwd=ROOT).returncode


def main() -> int:
    """Build; then serve or test where that was asked for."""
    parser = ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--test", action="store_true")
    arguments = parser.parse_args()
    try:
        print(f"[try] {build().relative_to(ROOT)}")
        if arguments.test:
            return test()
    except NotBuilt as reason:
        print(f"[try] not built: {reason}", file=sys.stderr)
        return 2
    if arguments.serve:
        serve(OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
