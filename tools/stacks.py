"""Environments with other versions of what the models stand on, each in a folder of its own under .cache/stacks/.

A stack is a few requirements beside those of pyproject.toml; everything else is left to the resolver, torch above all.
``lowest`` is the oldest of everything that pyproject.toml allows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "stacks"


class Stack(NamedTuple):
    """What is installed: requirements, and whether the oldest versions are wanted; ``brings`` names the odd package."""

    requirements: tuple[str, ...] = ()
    lowest: bool = False
    brings: str = ""


STACKS = {
    "newest": Stack(),
    "timm-1.0.15": Stack(("timm==1.0.15",), brings="timm"),
    "timm-1.0.24": Stack(("timm==1.0.24",), brings="timm"),
    "monai-1.5.2": Stack(("monai==1.5.2",), brings="MONAI"),
    "lowest": Stack(lowest=True, brings="the lowest versions"),
}
"""Each stack but the newest one is odd in one package, so that a difference can be blamed."""


def python_of(name: str) -> Path:
    """Return the interpreter of a stack, made where it is missing or older than pyproject.toml.

    Raises
    ------
    subprocess.CalledProcessError
        It could not be installed.
    """
    folder = HOME / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "made-for"
    requirements = [(ROOT / place / "pyproject.toml").read_text(encoding="utf-8") for place in ("", "src/viscy_models")]
    wanted = f"{STACKS[name]} {''.join(requirements)}"
    if not (python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        print(f"[stacks] making {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        _make(folder, python, STACKS[name])
        stamp.write_text(wanted, encoding="utf-8")
    return python


def _make(folder: Path, python: Path, stack: Stack) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    words = ["-e", "./src/viscy_models", "-e", ".[models]", *stack.requirements]
    if stack.lowest:
        words += ["--resolution", "lowest-direct"]
    subprocess.run([*_installer(python, stack), *words], cwd=ROOT, check=True)


def _installer(python: Path, stack: Stack) -> Sequence[str]:
    """Return uv where it can be had; only uv knows how to ask for the lowest versions."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        return [uv, "pip", "install", "-q", "--python", str(python)]
    if stack.lowest:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "uv"], check=True)
        return [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "-q"]
