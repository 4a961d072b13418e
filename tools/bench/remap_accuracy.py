"""How often an inferred mapping is right, WRONG or refused: ours beside rivals, over models and refactorings.

    python tools/bench/remap_accuracy.py [--seeds N] [--every N] [--no-rivals] [--json FILE]

The cases are the families of `tests/support/refactorings.py` over our classes, timm and MONAI, and the pairs from
history. weightbridge is installed into an environment of its own in a temporary folder; where that fails the table
says so. torch-state-bridge applies rules that somebody wrote and infers nothing, so it has no row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.historical_pairs import old_generations, pairs_from_history  # noqa: E402
from support.model_layouts import library_layouts, our_layouts  # noqa: E402
from support.refactorings import Refactoring, refactorings  # noqa: E402


def cases(seeds: int) -> list[Refactoring]:
    """Build every case, names of families marked where they come from history."""
    targets = [*our_layouts().values(), *library_layouts().values()]
    drawn = [case for seed in range(seeds) for target in targets for case in refactorings(target, seed)]
    history = [*old_generations(), *pairs_from_history()]
    return [*drawn, *(case._replace(family=f"history: {case.family}") for case in history)]


def spelled(case: Refactoring) -> str:
    """Write a case as a line for an engine."""
    sides = {
        side: [(name, spec.shape, spec.dtype) for name, spec in layout.items()]
        for side, layout in (("source", case.source), ("target", case.target))
    }
    return json.dumps({**sides, "extra": sorted(case.extra)})


def grade(case: Refactoring, answer: dict[str, object]) -> str:
    """Grade an engine's answer; tensors without weights of their own that the file lacks are not held against it."""
    pairs = answer.get("pairs")
    if not isinstance(pairs, dict):
        return "refused"
    numbers = {name: number for number, name in enumerate(case.source)}
    truth = {target: numbers[source] for target, source in case.truth.items()}
    if any(pairs[target] != number for target, number in truth.items() if target in pairs):
        return "WRONG"
    if any(target not in truth and not target.endswith("num_batches_tracked") for target in pairs):
        return "WRONG"
    return "correct" if truth.keys() <= pairs.keys() else "refused"


def run(engine: str, python: str, lines: list[str]) -> list[dict[str, object]]:
    """Run one engine over all cases in a process of its own."""
    worker = Path(__file__).with_name("remap_engines.py")
    process = subprocess.run(
        [python, str(worker), engine], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def rival_python(folder: str) -> str:
    """Install the rivals that need an environment of their own; return its interpreter, or nothing."""
    venv.create(folder, with_pip=True)
    python = str(Path(folder) / "bin" / "python")
    done = subprocess.run([python, "-m", "pip", "install", "-q", "weightbridge"], check=False, capture_output=True)
    return python if done.returncode == 0 else ""


def table(engine: str, drawn: list[Refactoring], answers: list[dict[str, object]]) -> str:
    """Spell one engine's grades, by what decides a case."""
    if len(answers) != len(drawn):
        return f"{engine}: not run to the end ({len(answers)} of {len(drawn)} cases)"
    graded = [(case, grade(case, answer)) for case, answer in zip(drawn, answers, strict=True)]
    rows = [f"{engine}", f"  {'decided by':14}{'correct':>8}{'WRONG':>8}{'refused':>8}"]
    for decides in ("names", "structure", "order", "outputs only", "nothing", "all"):
        counts = Counter(mark for case, mark in graded if decides in (case.decides, "all"))
        rows.append(f"  {decides:14}{counts['correct']:8}{counts['WRONG']:8}{counts['refused']:8}")
    wrong = Counter(case.family for case, mark in graded if mark == "WRONG")
    seconds = [float(str(answer["seconds"])) for answer in answers]
    rows.append(f"  {sum(seconds):.1f} s in all, slowest {max(seconds):.2f} s, {answers[-1]['megabytes']:.0f} MB")
    rows.extend(f"  WRONG: {family} x {count}" for family, count in wrong.most_common())
    return "\n".join(rows)


def main() -> None:
    """Build the cases, run the engines, print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take only every N-th case: weightbridge is slow")
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    drawn = cases(arguments.seeds)[:: arguments.every]
    lines = [spelled(case) for case in drawn]
    print(f"{len(drawn)} cases", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        engines = {"ours": sys.executable}
        if not arguments.no_rivals:
            engines |= {"timm remap_state_dict": sys.executable, "weightbridge": rival_python(folder)}
        answers = {name: run(name, python, lines) if python else [] for name, python in engines.items()}
    for name, given in answers.items():
        print(table(name, drawn, given), flush=True)
    if arguments.json:
        grades = {name: [grade(*pair) for pair in zip(drawn, given, strict=False)] for name, given in answers.items()}
        families = [(case.family, case.decides) for case in drawn]
        arguments.json.write_text(json.dumps({"cases": families, "grades": grades}))


if __name__ == "__main__":
    main()
