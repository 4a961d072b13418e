#!/usr/bin/env python3
"""Set up this clone and run its jobs; needs Python 3.11 or newer and git, nothing else.

    python3 tools/dev.py demo     run the main job on a real old model
    python3 tools/dev.py test     pass the tests (further words go to pytest)
    python3 tools/dev.py gate     run the gate, as the workflows do (further words go to viscy-compat gate)
    python3 tools/dev.py judge    run the gate on a package of another repository, installing little (see tools/judge.py)
    python3 tools/dev.py matrix   verify under several versions of torch, timm, MONAI and Python; blame what differs on one
    python3 tools/dev.py build    build wheel and sdist of both distributions, and try them in empty environments
    python3 tools/dev.py look     take pictures of report pages in headless Chromium
    python3 tools/dev.py try      build the page that checks checkpoints in a browser (--serve, --test)
    python3 tools/dev.py docs     build the documentation as a site, warnings taken for errors
    python3 tools/dev.py fuzz     damage files, plans, configurations and answers at random (--seconds N)
    python3 tools/dev.py setup    only make the environment

The environment is .venv in this folder, with both distributions of this repository: viscy-compat, and viscy-models out of
src/viscy_models. It is made once, and again when a pyproject.toml of theirs changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = "src/viscy_models"
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "made-for"
SPREAD = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two processes: each may start workers of 2.4 GB. A file's tests stay together, for they share what they set up."""
COMPILED = "import lightning.pytorch, monai.networks.nets, timm, hypothesis, pytest, coverage"
"""What a hundred processes of the tests import: without the bytecode of it an import of the stack takes 1.7 times as long."""


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"[dev] {line}", file=sys.stderr, flush=True)


def setup() -> None:
    """Make or refresh the environment; does nothing where it is up to date."""
    wanted = _fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    started = time.monotonic()
    if not PYTHON.exists():
        say(f"making {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
        venv.create(VENV, with_pip=True)
    say("installing torch, timm, monai and the test tools (about 5 GB; a minute or a few)")
    _install()
    _compile(COMPILED)
    STAMP.write_text(wanted)
    say(f"environment ready after {time.monotonic() - started:.0f} s")


def _fingerprint() -> str:
    words = b"".join((ROOT / folder / "pyproject.toml").read_bytes() for folder in ("", MODELS))
    return f"{hashlib.sha256(words).hexdigest()} {sys.version_info.major}.{sys.version_info.minor}\n"


def _install() -> None:
    """Install both distributions of this clone with all extras: with uv where it can be had, else with pip."""
    both = ["-e", f"./{MODELS}", "-e", ".[dev]"]
    uv = shutil.which("uv") or _uv_of_the_environment()
    if uv:
        done = subprocess.run([uv, "pip", "install", "--python", str(PYTHON), *both], cwd=ROOT)
        if done.returncode == 0:
            return
        say("uv could not install it; trying pip")
    subprocess.run([str(PYTHON), "-m", "pip", "install", *both], cwd=ROOT, check=True)


def _compile(statement: str) -> None:
    """Write the bytecode of what a statement imports, beside it that of our own modules and tests.

    uv installs none, and where PYTHONDONTWRITEBYTECODE is set every process would compile these thousands of modules anew.
    It stays set for the tests: of a module that one of them writes, runs and changes within a second, bytecode may be stale.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ours = [str(ROOT / place) for place in ("src", "tests/support", "tests/hostile/generator.py", "tools")]
    with subprocess.Popen([str(PYTHON), "-c", statement], env=environment) as importing:
        for words in (["-m", "compileall", "-q", *ours], [str(ROOT / "tools" / "compile_tests.py")]):
            subprocess.run([str(PYTHON), *words], env=environment, check=True)
    if importing.returncode:
        raise subprocess.CalledProcessError(importing.returncode, importing.args)


def _uv_of_the_environment() -> str | None:
    subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", "uv"], cwd=ROOT)
    return shutil.which("uv", path=str(BIN))


def _run(*words: str, folder: Path | None = None) -> int:
    """Run a program of the environment, in the folder where this was called unless another one is given.

    A job that needs no environment runs with this Python where none was made.
    """
    python = PYTHON if PYTHON.exists() else sys.executable
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run([str(python), *words], cwd=folder, env=environment).returncode


def demo(words: list[str]) -> int:
    """Run the main job on a real old model."""
    return _run(str(ROOT / "tools" / "demo.py"), *words)


def test(words: list[str]) -> int:
    """Run the tests; the whole suite in two processes, where a named file is quicker in one."""
    named = any((ROOT / word.partition("::")[0]).exists() for word in words)
    return _run("-m", "pytest", *(() if named else SPREAD), *words, folder=ROOT)


def tool(name: str) -> Callable[[list[str]], int]:
    """Return a job that runs a program of tools/."""
    return lambda words: _run(str(ROOT / "tools" / f"{name}.py"), *words)


JOBS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "test": test,
    "gate": tool("gate"),
    "judge": tool("judge"),
    "matrix": tool("matrix"),
    "build": tool("build"),
    "look": tool("look"),
    "try": tool("build_try"),
    "docs": tool("build_docs"),
    "fuzz": tool("fuzz_reader"),
    "require-success": tool("require_success"),
    "setup": lambda words: 0,
}
NEEDS_NOTHING = {"require-success", "judge"}
"""Jobs for which no environment is made: any Python runs them."""


def main() -> int:
    """Set up, then run the job that was asked for."""
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what an older Python is started with)
        say(f"this is Python {sys.version.split()[0]}; run it with 3.11 or newer, for example: python3.11 tools/dev.py")
        return 2
    try:
        if sys.argv[1] not in NEEDS_NOTHING:
            setup()
    except subprocess.CalledProcessError as error:
        say(f"the environment could not be made: {' '.join(map(str, error.cmd))} failed; its reason stands above")
        return 2
    return JOBS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
