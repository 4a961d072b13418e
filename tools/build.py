"""Build wheel and sdist into dist/, and refuse what must not be published.

    python3 tools/dev.py build                  build and check
    python3 tools/dev.py build --tag v0.1.0     and refuse where the tag is not the version

Both files are checked by twine, must be smaller than 5 MB, and, installed into an environment of their own, must know a
checkpoint and pass the static gate.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
LIMIT = 5_000_000
STATIC = ["-m", "viscy_compat", "gate", "--static"]

# A sample: the tensors that make a small BetaVaeMonai, as a file that needs no torch to be written.
SAMPLE = """
import json, struct, sys
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
architecture = find("BetaVaeMonai")
layout = architecture.layout(complete(architecture, architecture.cases[0].config))
header, end = {}, 0
for name, spec in layout.items():
    size = spec.elements * (8 if spec.dtype == "int64" else 4)
    dtype = "I64" if spec.dtype == "int64" else "F32"
    header[name] = {"dtype": dtype, "shape": list(spec.shape), "data_offsets": [end, end + size]}
    end += size
words = json.dumps(header).encode()
words += b" " * (-len(words) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(words)) + words)
    file.truncate(8 + len(words) + end)
"""


def built() -> list[Path]:
    """Build both files anew and return them."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)], check=True)
    return sorted(DIST.iterdir())


def tried(file: Path) -> None:
    """Install a file into an empty environment, and run there what needs no torch.

    Raises
    ------
    subprocess.CalledProcessError
        Something did not hold.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "empty", with_pip=True)
        python = str(folder / "empty" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        sample = str(folder / "sample.safetensors")
        pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", str(file)]
        for words in (pip, ["-c", SAMPLE, sample], ["-m", "viscy_compat", "check", sample], STATIC):
            print(f"[build] {file.name}: python {' '.join(words) if words[0] == '-m' else '...'}", flush=True)
            subprocess.run([python, *words], cwd=folder, check=True)


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
    files = built()
    complaint = complaint_about(files, tag)
    if complaint:
        print(f"[build] {complaint}", file=sys.stderr)
        return 1
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], check=True)
    for file in files:
        tried(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
