"""Wheel and sdist install into empty environments, bring no torch, know a checkpoint and pass the static gate there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from build import built, complaint_about, installed, tried  # noqa: E402

pytestmark = pytest.mark.index

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
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built sdist and wheel."""
    return built(tmp_path_factory.mktemp("packaging") / "dist")


@pytest.fixture(scope="module")
def python(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment into which the wheel was installed."""
    wheel = next(file for file in files if file.suffix == ".whl")
    return installed(wheel, tmp_path_factory.mktemp("wheel") / "empty")


def test_the_files_may_be_published(files: list[Path]) -> None:
    assert complaint_about(files, None) == ""
    assert complaint_about(files, "v99.0") != ""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_works_in_an_empty_environment_without_torch(python: Path, tmp_path: Path) -> None:
    done = subprocess.run([python, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wheel_ships_the_references(python: Path, tmp_path: Path) -> None:
    code = (
        "import viscy_compat, pathlib; print(pathlib.Path(viscy_compat.__file__).parent / 'legacy_refs' / 'README.md')"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_file()


@pytest.mark.torch
def test_the_wheel_knows_a_checkpoint_and_passes_the_static_gate(python: Path, tmp_path: Path) -> None:
    tried(python, tmp_path)


@pytest.mark.torch
def test_the_sdist_knows_a_checkpoint_and_passes_the_static_gate(files: list[Path], tmp_path: Path) -> None:
    sdist = next(file for file in files if file.name.endswith(".tar.gz"))
    tried(installed(sdist, tmp_path / "empty"), tmp_path)
