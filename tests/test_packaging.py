"""The built wheel installs into an empty environment, and its light core brings no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROBE = """
import sys, viscy_compat
from viscy_compat import cli
assert cli.main(["--version"]) == 0
heavy = {"torch", "numpy", "timm", "monai", "git", "deepdiff", "yaml", "hypothesis"} & set(sys.modules)
assert not heavy, heavy
import importlib.util
assert importlib.util.find_spec("torch") is None
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment into which the built wheel was installed."""
    folder = tmp_path_factory.mktemp("packaging")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "empty", with_pip=True)
    python = folder / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheel = next(folder.glob("*.whl"))
    assert wheel.stat().st_size < 5_000_000
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True)
    return python


@pytest.mark.index
def test_the_wheel_works_in_an_empty_environment_without_torch(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run([installed, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.index
def test_the_wheel_ships_the_references(installed: Path, tmp_path: Path) -> None:
    code = (
        "import viscy_compat, pathlib; print(pathlib.Path(viscy_compat.__file__).parent / 'legacy_refs' / 'README.md')"
    )
    done = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_file()
