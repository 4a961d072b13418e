"""Environments with other versions of what the models stand on, each in a folder of its own under .cache/stacks/.

A stack is a few requirements beside those of pyproject.toml; everything else is left to the resolver, torch above all.
``lowest`` is the oldest of everything that pyproject.toml allows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "stacks"


class Stack(NamedTuple):
    """What is installed: requirements, and whether the oldest versions are wanted; ``brings`` names the odd package.

    ``python`` is another Python than the one that runs this (``3.13``; uv finds it, pyenv's too).
    """

    requirements: tuple[str, ...] = ()
    lowest: bool = False
    brings: str = ""
    python: str = ""


TORCH = ("2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1")
TIMM = ("1.0.15", "1.0.24")
MONAI = ("1.5.2", "1.6.0")
PYTHON = ("3.12", "3.13")

STACKS = {
    "newest": Stack(),
    **{f"torch-{version}": Stack((f"torch=={version}",), brings="torch") for version in TORCH},
    **{f"timm-{version}": Stack((f"timm=={version}",), brings="timm") for version in TIMM},
    **{f"monai-{version}": Stack((f"monai=={version}",), brings="MONAI") for version in MONAI},
    **{f"python-{version}": Stack(brings="Python", python=version) for version in PYTHON},
    "oldest-torch-timm": Stack((f"torch=={TORCH[0]}", f"timm=={TIMM[0]}"), brings="torch or timm"),
    "oldest-torch-monai": Stack((f"torch=={TORCH[0]}", f"monai=={MONAI[0]}"), brings="torch or MONAI"),
    "oldest-timm-monai": Stack((f"timm=={TIMM[0]}", f"monai=={MONAI[0]}"), brings="timm or MONAI"),
    "lowest": Stack(lowest=True, brings="the lowest versions"),
}
"""Each stack is odd in one package, so that a difference can be blamed; the last ones are the corners, odd in two or all."""


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
    installer = _uv()
    subprocess.run([*installer, "venv", "-q", "--python", _interpreter(stack.python), str(folder)], check=True)
    words = ["-e", "./src/viscy_models", "-e", ".[models]", *stack.requirements]
    if stack.lowest:
        words += ["--resolution", "lowest-direct"]
    subprocess.run([*installer, "pip", "install", "-q", "--python", str(python), *words], cwd=ROOT, check=True)


def _interpreter(version: str) -> str:
    """Return this Python, or another one: pyenv's where it has it (which is not on the path), else what uv finds."""
    if not version:
        return sys.executable
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(home.glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else version


def _uv() -> Sequence[str]:
    """Return uv, which alone knows how to ask for the lowest versions, and links files that many environments share."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        return [uv]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "uv"], check=True)
    return [sys.executable, "-m", "uv"]
