"""Checkpoints of the real old classes, made once a test run in a process of their own (`tools/old_checkpoint.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The folder where downloaded wheels stay between test runs."""
    folder = Path(os.environ.get("VISCY_COMPAT_TEST_CACHE", ROOT / ".cache")) / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wheel(version: str) -> Path:
    """The released viscy wheel of a version, downloaded with pip where it is not at hand yet."""
    found = next(iter(cache().glob(f"viscy-{version}-*.whl")), None)
    if found is None:
        options = ["-q", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-d", str(cache())]
        command = [sys.executable, "-m", "pip", "download", *options, f"viscy=={version}"]
        subprocess.run(command, check=True, capture_output=True)
        found = next(iter(cache().glob(f"viscy-{version}-*.whl")))
    return found


def make(version: str, jobs: Iterable[Mapping[str, Any]]) -> None:
    """Write the checkpoints that the jobs describe, with the old classes of one release."""
    listed = [{**job, "out": str(job["out"])} for job in jobs]
    lists = Path(listed[0]["out"]).with_suffix(".jobs.json")
    lists.write_text(json.dumps(listed))
    command = [sys.executable, str(ROOT / "tools" / "old_checkpoint.py"), str(wheel(version)), str(lists)]
    done = subprocess.run(command, capture_output=True, text=True)
    lists.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
