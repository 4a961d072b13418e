"""The main job on real old models: make checkpoints with the old classes, then check, remap and prove.

Run it as ``python3 tools/dev.py demo``; it leaves its files in the folder where it is run.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "wheels"
CONFIG = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "stem_kernel_size": [5, 4, 4]}

OLD: dict[str, dict[str, Any]] = {
    "0.4.0": {"class": "ContrastiveEncoder", "config": CONFIG, "out": "old.ckpt"},
    "0.2.1": {"class": "ContrastiveEncoder", "config": CONFIG, "out": "older.ckpt", "optimizer": False},
}
COMMANDS = (
    "viscy-compat check old.ckpt",
    "viscy-compat check older.ckpt --set stem_stride=5,4,4",
    "viscy-compat remap older.ckpt -o new.safetensors --force --prove --set stem_stride=5,4,4 --set in_stack_depth=15",
    "viscy-compat check new.safetensors",
)
HOLDS = (0, 1, 0, 0)
"""The exit codes that tell the truth about these files."""


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"[demo] {line}", file=sys.stderr, flush=True)


def wheel(version: str) -> Path:
    """Return a released wheel, downloaded with pip where it is not at hand."""
    if not list(CACHE.glob(f"viscy-{version}-*.whl")):
        options = ["-q", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-d", str(CACHE)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"viscy=={version}"], check=True)
    return next(CACHE.glob(f"viscy-{version}-*.whl"))


def make(version: str, job: dict[str, Any]) -> None:
    """Train one step with an old class of a release, and save with Lightning's Trainer."""
    jobs = Path(f"{job['out']}.jobs.json")
    jobs.write_text(json.dumps([job]))
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "old_checkpoint.py"), str(wheel(version)), str(jobs)], check=True
    )
    jobs.unlink()


def run(command: str) -> int:
    """Show a command, run it, and return its exit code."""
    print(f"$ {command}", flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(shlex.split(command), env={**os.environ, "PATH": path})
    print(flush=True)
    return done.returncode


def main() -> int:
    """Run the demo; exit code 0 if every command ended as it should."""
    for version, job in OLD.items():
        say(f"training one step of the old {job['class']} of viscy {version}, saved by Lightning as {job['out']}")
        make(version, job)
    codes = tuple(run(command) for command in COMMANDS)
    if codes != HOLDS:
        say(f"the commands ended with {codes}, not with {HOLDS}")
        return 1
    say("both old checkpoints are known; the older one was rewritten, and the proof holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
