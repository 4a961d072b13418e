"""What `verify` costs, in imports of the stack: starting, building, digests, filling, forwards.

Run it on a quiet machine: ``python tools/bench/verify.py [--cases N] [CLASS...]``. It prints ratios and asserts nothing.
With ``--cases`` it measures that many, spread evenly over all cases of the classes.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from itertools import count

from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Case
from viscy_compat.old_code.origin import OldClass, Wanted, resolve
from viscy_compat.workers.answers import Run, WorkerAnswer

IMPORT = "import torch, timm, monai, monai.networks.nets"
STAGES = ("build", "digest", "fill", "eval", "train")


def seconds_of_import() -> float:
    """The quicker of two imports of torch, timm and MONAI, each in a process of its own."""
    laps = []
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True)
        laps.append(time.perf_counter() - begun)
    return min(laps)


def hashing_speed() -> float:
    """Bytes a second of SHA-256, which differ fivefold between processors with and without instructions for it."""
    block, begun = bytes(1 << 26), time.perf_counter()
    hashlib.sha256(block).digest()
    return len(block) / (time.perf_counter() - begun)


def thin_out(names: list[str], wanted: int) -> None:
    """Let `verify` see so many cases only, spread evenly over those of the classes."""
    equivalence = import_module("viscy_compat.proof.equivalence")
    every = equivalence.cases_of
    architectures = [find(name) for name in names]
    olds = resolve(architectures, Wanted())
    total = sum(len(every(one, olds[one.name])) for one in architectures)
    place = count()

    def fewer(architecture: Architecture, old: OldClass) -> tuple[Case, ...]:
        # the counter comes second: zip asks the first one for an item too many
        numbered = zip(every(architecture, old), place, strict=False)
        return tuple(case for case, at in numbered if (at + 1) * wanted // total > at * wanted // total)

    equivalence.cases_of = fewer


def measured(names: list[str]) -> tuple[float, int, dict[str, Counter[str]]]:
    """Return wall seconds, cases, and the seconds of each stage on each side."""
    sides = import_module("viscy_compat.workers.sides")
    equivalence = import_module("viscy_compat.proof.equivalence")
    spent: dict[str, Counter[str]] = {"old": Counter(), "candidate": Counter()}
    read = sides.read_answer

    def noting(json: dict[str, object], side: str, run: Run) -> WorkerAnswer:
        answer: WorkerAnswer = read(json, side, run)
        spent[side].update(answer.seconds)
        return answer

    sides.read_answer = noting
    begun = time.perf_counter()
    report = equivalence.verify(names)
    wall = time.perf_counter() - begun
    return wall, sum(result.configurations for result in report.results), spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, help="how many to measure (default: all)")
    parser.add_argument("names", nargs="*", metavar="CLASS")
    asked = parser.parse_args()
    names = asked.names or list(migrated_names()[:4])
    if asked.cases:
        thin_out(names, asked.cases)
    once = seconds_of_import()
    wall, cases, spent = measured(names)
    forwards = max(side["eval"] + side["train"] for side in spent.values())
    print(f"{len(names)} classes, {cases} cases; unit: one import of torch, timm and MONAI ({once:.1f} s)")
    print(f"whole run {wall / once:.2f}, besides the forwards {(wall - forwards) / once:.2f}")
    print(f"SHA-256 on this processor: {hashing_speed() / 1e6:.0f} MB/s")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of the larger worker {memory:.0f} MB")
    for side, stages in spent.items():
        print(f"{side:<10}" + "  ".join(f"{stage} {stages[stage] / once:.2f}" for stage in STAGES))


if __name__ == "__main__":
    main()
