"""What `verify` costs, in imports of the stack: verify.py [--cases N] [--rounds N] [--against CLONE] [CLASS...]

With ``--gate PROFILE`` it is the whole gate, of all classes unless some are named, and no round is run to warm up: it is
minutes long.

The unit, one import of torch, timm and MONAI in a process of its own, is measured in turns with the runs, so that the
machine's moods hit both alike. It prints ratios and asserts nothing. With ``--cases`` a run compares that many, spread
evenly over all cases of the classes; with ``--against`` the code of another clone (the commit before) is run in turns, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from alternation import Contender, alternate, table

IMPORT = "import torch, timm, monai, monai.networks.nets"
STAGES = ("build", "digest", "fill", "eval", "train")
FIRST = ("ContrastiveEncoder", "ResNet3dEncoder", "BetaVae25D", "BetaVaeMonai")
HERE = Path(__file__).resolve().parents[2]


def module(*names: str) -> Any:
    """The first of some modules that this code has: the commit before may call it otherwise."""
    room = {name: find_spec(name.rpartition(".")[0]) for name in names}
    return import_module(next(name for name in names if room[name] and find_spec(name)))


def thin_out(names: Sequence[str], wanted: int) -> None:
    """Let `verify` see so many cases only, spread evenly over those of the classes."""
    equivalence = import_module("viscy_compat.proof.equivalence")
    origin = module("viscy_compat.old_code.origin", "viscy_compat.history.origin")
    every, find = equivalence.cases_of, import_module("viscy_compat.architectures").find
    olds = origin.resolve([find(name) for name in names], origin.Wanted())
    total, place = sum(len(every(find(name), olds[name])) for name in names), count()

    def fewer(architecture: Any, old: Any) -> tuple[Any, ...]:
        # the counter comes second: zip asks the first one for an item too many
        numbered = zip(every(architecture, old), place, strict=False)
        return tuple(case for case, at in numbered if (at + 1) * wanted // total > at * wanted // total)

    vars(equivalence)["cases_of"] = fewer


def run_once(names: Sequence[str], wanted: int) -> dict[str, Any]:
    """Run `verify` in this process, and say how many cases it had, what each stage took, and the larger worker's memory."""
    worker = module("viscy_compat.workers.worker", "viscy_compat.proof.workers")
    sides = module("viscy_compat.workers.sides", "viscy_compat.proof.sides")
    # what a namespace's last process used is lost with it, so nothing stands between this process and its workers
    worker._launcher = lambda folder: []
    spent: dict[str, Counter[str]] = {"old": Counter(), "candidate": Counter()}
    read = sides.read_answer

    def note(answer: dict[str, object], side: str, run: Any) -> Any:
        found = read(answer, side, run)
        spent[side].update(found.seconds)
        return found

    sides.read_answer = note
    if wanted:
        thin_out(names, wanted)
    report = import_module("viscy_compat.proof.equivalence").verify(names)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"cases": sum(result.configurations for result in report.results), "spent": spent, "memory": memory}


def gate_once(names: Sequence[str], profile: str) -> dict[str, Any]:
    """Run `gate` in this process, and say how it ended and how much memory the larger worker took."""
    # see `run_once`
    module("viscy_compat.workers.worker", "viscy_compat.proof.workers")._launcher = lambda folder: []
    code = import_module("viscy_compat.cli").main(["gate", "--profile", profile, "--quiet", *names])
    return {"exit_code": code, "memory": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}


def contender(title: str, clone: Path, words: Sequence[str]) -> Contender:
    """A run of the code of a clone."""
    command = ["env", f"PYTHONPATH={clone / 'src'}", sys.executable, str(Path(__file__)), "--once", *words]
    return Contender(title, command, reports=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=0, help="how many to compare (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--against", type=Path, help="a clone of another commit")
    parser.add_argument("--gate", choices=("dev", "ci", "release"), help="measure the gate in this profile, not verify")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="CLASS")
    asked = parser.parse_args()
    what, names = ("gate", asked.names) if asked.gate else ("verify", asked.names or FIRST)
    if asked.once:
        print(json.dumps(gate_once(names, asked.gate) if asked.gate else run_once(names, asked.cases)))
        return
    words = [*(["--gate", asked.gate] if asked.gate else ["--cases", str(asked.cases)]), *names]
    contenders = [Contender("one import of the stack", [sys.executable, "-c", IMPORT]), contender(what, HERE, words)]
    if asked.against:
        contenders.append(contender(f"{what} of {asked.against}", asked.against.resolve(), words))
    alternate(contenders, asked.rounds, warm=not asked.gate)
    print(table(", ".join(names) or "all classes", contenders))
    for one in contenders[1:]:
        print(f"{one.name}: {max(facts['memory'] for facts in one.facts):.0f} MB in the larger worker")
    if asked.against:
        pairs = zip(contenders[1].runs, contenders[2].runs, strict=True)
        print("CPU, of the commit before:", "  ".join(f"{new.cpu / old.cpu:.2f} x" for new, old in pairs))
    if not asked.gate:
        print_stages(contenders[1].facts[-1], contenders[0].median("wall"))


def print_stages(facts: dict[str, Any], unit: float) -> None:
    """Print what each stage of a run took."""
    print(f"{facts['cases']} cases; a run's stages in imports of the stack:")
    for side, stages in facts["spent"].items():
        print(f"{side:<10}" + "  ".join(f"{stage} {stages.get(stage, 0.0) / unit:.2f}" for stage in STAGES))


if __name__ == "__main__":
    main()
