"""Build wheel and sdist of both distributions, and refuse what must not be published.

    python3 tools/dev.py build                  build and check
    python3 tools/dev.py build --tag v0.1.0     and refuse where the tag is not the version

viscy-compat goes into dist/, which is what a release publishes. viscy-models goes into dist-models/: its name is upstream's,
so it is never published, only installed from there. Files are checked by twine, must be smaller than 5 MB, and, installed
into an environment of their own, must know a checkpoint and pass the static gate.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "src" / "viscy_models"
DIST, DIST_MODELS = ROOT / "dist", ROOT / "dist-models"
LIMIT = 5_000_000

# A sample that needs no torch to be written: the tensors of a small model, with a hole for their bytes.
SAMPLE = """
import sys
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.gating.check import hollow
architecture = find("BetaVaeMonai")
hollow(sys.argv[1], architecture.layout(complete(architecture, architecture.cases[0].config)))
"""


def built(folder: Path = DIST, project: Path = ROOT) -> list[Path]:
    """Build both files of a distribution into a folder, which is emptied first, and return them."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project)], check=True)
    return sorted(folder.iterdir())


def empty(folder: Path) -> Path:
    """Make an environment with nothing in it, pip included, and return its interpreter."""
    venv.create(folder)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def pip(python: Path, *words: str | Path) -> None:
    """Let the pip of this environment work on another one."""
    command = [sys.executable, "-m", "pip", "--python", python, *words, "-q", "--disable-pip-version-check"]
    subprocess.run(list(map(str, command)), cwd=python.parent, check=True)


def installed(files: Sequence[Path], folder: Path) -> Path:
    """Install viscy-compat, and the models without what they need, into an empty environment; return its interpreter."""
    python, wheels = empty(folder), folder / "wheels"
    # an sdist is built here, in this environment, so that nothing is fetched
    here = ["--no-deps", "--no-build-isolation", "-q", "--wheel-dir", wheels]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *map(str, [*here, *files])], check=True)
    pip(python, "install", "--no-deps", *wheels.glob("*.whl"))
    return python


def tried(python: Path, folder: Path) -> None:
    """Check a sample and pass the static gate with an environment that has no torch.

    The installed models are judged; only their worker runs with this interpreter, which has torch.

    Raises
    ------
    subprocess.CalledProcessError
        Something did not hold.
    """
    sample = str(folder / "sample.safetensors")
    models = [str(python), "-c", "import importlib.util as u; print(u.find_spec('viscy_models').origin)"]
    origin = subprocess.run(models, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    candidate = ["--candidate", str(Path(origin).parents[1]), "--candidate-python", sys.executable]
    subprocess.run([python, "-c", SAMPLE, sample], cwd=folder, check=True)
    subprocess.run([python, "-m", "viscy_compat", "check", sample], cwd=folder, check=True)
    subprocess.run([python, "-m", "viscy_compat", "gate", "--static", *candidate], cwd=folder, check=True)


def complaint_about(files: list[Path], tag: str | None) -> str:
    """Say what is wrong with the files as such; empty where nothing is."""
    if len(files) != 2:
        return f"wheel and sdist were expected, not {[file.name for file in files]}"
    large = [file.name for file in files if file.stat().st_size >= LIMIT]
    if large:
        return f"larger than {LIMIT} bytes: {large}"
    wheel = next(file for file in files if file.suffix == ".whl")
    version = wheel.name.split("-")[1]
    return "" if tag in (None, f"v{version}") else f"the tag is {tag}, the version {version}"


def main() -> int:
    """Build, check, try."""
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("--tag")
    tag = parser.parse_args().tag
    files, models = built(), built(DIST_MODELS, MODELS)
    complaint = complaint_about(files, tag) or complaint_about(models, None)
    if complaint:
        print(f"[build] {complaint}", file=sys.stderr)
        return 1
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, [*files, *models])], check=True)
    # sorted, both have the sdist first: each kind of file is tried with its like
    for both in zip(files, models, strict=True):
        with tempfile.TemporaryDirectory() as name:
            print(f"[build] trying {' and '.join(file.name for file in both)}", flush=True)
            tried(installed(both, Path(name) / "empty"), Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
