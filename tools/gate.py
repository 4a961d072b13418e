"""Run ``viscy-compat gate``: what the jobs of .github/workflows/compat.yml run, in a clone.

    python3 tools/dev.py gate                             static and numeric, in this environment
    python3 tools/dev.py gate --static                    only what needs no torch
    python3 tools/dev.py gate --stack lowest --numeric    both sides on another stack (see tools/stacks.py)

All other words go to ``viscy-compat gate``.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser

from stacks import STACKS, python_of


def words_for(stack: str | None, words: list[str]) -> list[str]:
    """Return the words for ``viscy-compat gate``, with both workers on a stack where one is named."""
    if stack in (None, "newest"):
        return words
    python = str(python_of(stack or ""))
    return [*words, "--legacy-python", python, "--candidate-python", python]


def main() -> int:
    """Run the gate and return its exit code."""
    parser = ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--stack", choices=STACKS)
    chosen, words = parser.parse_known_args()
    command = [sys.executable, "-m", "viscy_compat", "gate", *words_for(chosen.stack, words)]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
