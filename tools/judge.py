"""Run the gate on a package of another repository, with no more installed than that takes.

    python tools/dev.py judge --candidate src                          both halves
    python tools/dev.py judge --static --candidate src                 what only needs the source: nothing is installed
    python tools/dev.py judge --project packages/viscy-models ...      install that project first, where no Python has it

The tools run out of a folder of their own, kept between runs; beside them only what the gate imports is installed, by uv
where it is there, else by pip. Old classes and candidate run with the candidate's Python: that of --candidate-python, of
the project's .venv, of the environment that is active, or the one on the path. All other words go to ``viscy-compat gate``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("src/viscy_compat", "legacy_refs")
PROGRAM = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")
NEEDED_BY_WORKERS = "safetensors"


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"[judge] {line}", file=sys.stderr, flush=True)


def requirements() -> list[str]:
    """Return what the gate imports besides the standard library: its extra, and hypothesis."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return [*extras["gate"], *(row for row in extras["explore"] if row.startswith("hypothesis"))]


def cache() -> Path:
    """Return where the tools are kept between runs."""
    given = os.environ.get("RUNNER_TOOL_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(given or Path.home() / ".cache") / "viscy-compat-tools"


def tools(needed: Sequence[str]) -> Path:
    """Return a folder with the tools, and what they need, made where it is missing."""
    home = cache() / _fingerprint(needed)
    if not (home / "made").exists():
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(ROOT / PARTS[0], home / "viscy_compat", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / PARTS[1], home / "viscy_compat" / PARTS[1])
        if needed:
            say(f"installing {', '.join(needed)}")
            install(["--target", str(home), *needed], sys.executable)
        (home / "made").touch()
    return home


def _fingerprint(needed: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{sys.version} {needed}".encode())
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*") if path.suffix in (".py", ".json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def install(words: Sequence[str], python: str) -> None:
    """Install with uv where it is there, else with the pip of that Python.

    Raises
    ------
    subprocess.CalledProcessError
        It could not be installed.
    """
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "-q", "--python", python] if uv else [python, "-m", "pip", "install", "-q"]
    subprocess.run([*command, *words], check=True)


def candidate_python(project: Path | None) -> str:
    """Return the Python that has the candidate: of a .venv at or above the project, of the active environment, on the path."""
    return str(next((path for path in _interpreters(project) if path.is_file()), sys.executable))


def _interpreters(project: Path | None) -> Iterator[Path]:
    if given := os.environ.get("UV_PROJECT_ENVIRONMENT"):
        yield Path(given).absolute() / PROGRAM
    start = (project or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        yield folder / ".venv" / PROGRAM
        if (folder / ".git").exists():
            break
    if active := os.environ.get("VIRTUAL_ENV"):
        yield Path(active) / PROGRAM
    if found := shutil.which("python"):
        yield Path(found)


def has(python: str, module: str) -> bool:
    """Whether an interpreter would find a module."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"
    try:
        return subprocess.run([python, "-I", "-c", code, module], capture_output=True).returncode == 0
    except OSError:
        return False


def prepared(project: Path) -> str:
    """Return a Python that has the project; without one, an environment is made beside it and the project installed."""
    python = candidate_python(project)
    if not has(python, "torch"):
        say(f"installing {project} with what it needs")
        folder = project / ".venv"
        uv = shutil.which("uv")
        make = [uv, "venv", "-q", str(folder)] if uv else [sys.executable, "-m", "venv", str(folder)]
        subprocess.run(make, check=True)
        python = str(folder.absolute() / PROGRAM)
        install(["-e", str(project), NEEDED_BY_WORKERS], python)
    return python


def words_for(python: str, words: Sequence[str]) -> list[str]:
    """Return the words for the gate: both sides run with this Python, unless others are named.

    The static half reads the package as text where that Python has no torch.
    """
    static = "--static" in words and "--numeric" not in words
    named = [word.partition("=")[0] for word in words]
    flags = [flag for flag in ("--candidate-python", "--legacy-python") if flag not in named]
    if "--candidate-python" not in named and static and not has(python, "torch"):
        flags = []
    return [*words, *(word for flag in flags for word in (flag, python))]


def main() -> int:
    """Prepare what is missing and run the gate; return its exit code."""
    parser = ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--project", type=Path)
    chosen, words = parser.parse_known_args()
    static = "--static" in words and "--numeric" not in words
    try:
        python = prepared(chosen.project) if chosen.project and not static else candidate_python(chosen.project)
        home = tools([] if static else requirements())
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd))} failed; its reason stands above")
        return 2
    command = [sys.executable, "-m", "viscy_compat", "gate", *words_for(python, words)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(home)}).returncode


if __name__ == "__main__":
    sys.exit(main())
