"""Verify under several versions of torch, timm, MONAI and Python, and blame a difference on the package that brought it.

    python3 tools/dev.py matrix                             every stack
    python3 tools/dev.py matrix lowest timm-1.0.15          these
    python3 tools/dev.py matrix --class BetaVae25D --output html:matrix.html
    python3 tools/dev.py matrix --cases 3 --only-newest      quick: few configurations, and the second question alone

Each stack (tools/stacks.py) is odd in one package. Two things are asked of it: do the old classes and the migrated ones
give the same bytes under it, and does a migrated class do there what it does under the newest versions? What differs in
the second question was brought by the odd package, since nothing else has changed.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from math import inf, isfinite
from typing import Any, cast

from stacks import STACKS, python_of
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture
from viscy_compat.comparison.amounts import Amount
from viscy_compat.comparison.cases import compare
from viscy_compat.comparison.failures import Failure
from viscy_compat.errors import CompatError
from viscy_compat.findings import Finding, Report
from viscy_compat.gating.engine import gate
from viscy_compat.gating.layouts import findings_of
from viscy_compat.gating.stage import Setting, Stage, StageResult, Workshop
from viscy_compat.gating.verify import run as verified
from viscy_compat.report import render
from viscy_compat.report.terminal import Style
from viscy_compat.report.text_gate import render as as_text
from viscy_compat.workers.answers import Mode, Pass, Run, WorkerAnswer, WorkerOutput, read_answer
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Conditions, Worker

NEWEST = "newest"
DEFAULT = tuple(STACKS)
REPORT = ("layout", "initial", "eval", "train")
SAMPLES = 64
"""So many numbers of every output are compared, to say how far apart two stacks are."""

Answers = dict[str, list[WorkerAnswer]]


def answers_of(python: str, chosen: Sequence[Architecture]) -> tuple[Conditions, Answers]:
    """Run every case of every class in the migrated package with an interpreter."""
    package = Candidate()
    with Worker("candidate", python=python) as worker:
        package.prepare(worker)
        found = {row.name: [_answer(worker, package, row, index) for index in range(len(row.cases))] for row in chosen}
        return worker.conditions, found


def _answer(worker: Worker, package: Candidate, architecture: Architecture, index: int) -> WorkerAnswer:
    case = architecture.cases[index]
    options = {"samples": SAMPLES, "norms": True}
    run = Run("candidate", package.target(architecture), case.config, case.input, REPORT, 0, options)
    return read_answer(worker.request(run.to_json()), "candidate", run)


def drift(name: str, chosen: Sequence[Architecture], newest: Answers, here: Answers) -> Iterator[StageResult]:
    """Say for each class where a stack gives something else than the newest one, and who brought it."""
    for architecture in chosen:
        failures = []
        for case, mine, theirs in zip(
            architecture.cases, newest[architecture.name], here[architecture.name], strict=True
        ):
            failures += [_measured(row, mine, theirs) for row in compare(mine, theirs, case).failures]
        blamed = tuple(_blamed(finding, name) for finding in findings_of(failures))
        details = {"configurations": len(architecture.cases), "failures": [row.to_dict() for row in failures]}
        yield StageResult(f"as newest: {name}", architecture.name, blamed, details=details)


def _measured(failure: Failure, newest: WorkerAnswer, here: WorkerAnswer) -> Failure:
    """Say how far the sampled numbers of every output of a pass are apart."""
    ours, theirs = (side.passes.get(cast("Mode", failure.mode)) for side in (newest, here))
    if not (isinstance(ours, Pass) and isinstance(theirs, Pass) and len(ours.outputs) == len(theirs.outputs)):
        return failure
    pairs = zip(ours.outputs, theirs.outputs, strict=True)
    return replace(failure, amounts=tuple(_amount(*pair) for pair in pairs if pair[0].digest != pair[1].digest))


def _amount(mine: WorkerOutput, other: WorkerOutput) -> Amount:
    apart = [abs(a - b) for a, b in zip(mine.samples, other.samples, strict=False)]
    largest = max(apart, default=0.0) if isfinite(sum(apart)) else inf
    return Amount(mine.name, largest, mine.norm, f"root mean square (of {len(apart)} samples)")


def _blamed(finding: Finding, name: str) -> Finding:
    return finding._replace(message=f"{finding.message}; {STACKS[name].brings} brings it ({name} against the newest)")


def stages_of(
    name: str, chosen: Sequence[Architecture], newest: Answers, only_newest: bool = False
) -> tuple[Stage, ...]:
    """Return the stages of one stack."""
    python = str(python_of(name))

    def as_old(workshop: Workshop) -> Iterator[StageResult]:
        options = {**workshop.setting.options, "legacy_python": python, "candidate_python": python}
        inside = Workshop(replace(workshop.setting, options=options))
        for result in verified(inside):
            yield replace(result, stage=f"as old: {name}", headline="")

    def as_newest(workshop: Workshop) -> Iterator[StageResult]:
        _, here = answers_of(python, chosen)
        for result in drift(name, chosen, newest, here):
            said = "; ".join(finding.message for finding in result.findings) or "the same bytes"
            _tell(f"{name}: {result.subject}, {result.details['configurations']} configurations: {said}")
            yield result

    both = (Stage(f"as old: {name}", "numeric", f"old and migrated classes agree under {name}", as_old),)
    if name == NEWEST:
        return both
    second = Stage(f"as newest: {name}", "numeric", f"{name} gives what the newest versions give", as_newest)
    return (second,) if only_newest else (*both, second)


def versions(name: str) -> str:
    """Return the versions that a stack really has."""
    code = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('torch', 'timm', 'monai')))"
    done = subprocess.run([str(python_of(name)), "-c", code], capture_output=True, text=True, check=True)
    return f"{name}: {done.stdout.strip()}"


def report_of(names: Sequence[str], chosen: Sequence[Architecture], only_newest: bool = False) -> Report[Any]:
    """Run the matrix."""
    told = [versions(name) for name in names]
    print("\n".join(f"[matrix] {line}" for line in told), file=sys.stderr, flush=True)
    _, newest = answers_of(str(python_of(NEWEST)), chosen)
    stages = [stage for name in names for stage in stages_of(name, chosen, newest, only_newest)]
    setting = Setting(tuple(chosen), Candidate(), progress=_tell)
    found = gate(setting, stages)
    return Report("matrix", found.results, headline="; ".join(told), exhibits=found.exhibits)


def _tell(line: str) -> None:
    print(f"[matrix] {line}", file=sys.stderr, flush=True)


def spread(architecture: Architecture, number: int | None) -> Architecture:
    """Return a class with some of its cases, evenly spread; with all where no number is given."""
    cases = architecture.cases
    if not number or number >= len(cases):
        return architecture
    fewer = copy(architecture)
    vars(fewer)["cases"] = tuple(cases[place * len(cases) // number] for place in range(number))
    return fewer


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(prog="dev.py matrix", allow_abbrev=False)
    parser.add_argument("stacks", metavar="STACK", nargs="*", default=DEFAULT, help=f"any of {', '.join(STACKS)}")
    parser.add_argument(
        "--class", dest="classes", metavar="CLASS", action="append", help="only this class (repeatable)"
    )
    parser.add_argument("--cases", metavar="N", type=int, help="N cases of each class, spread over all of them")
    parser.add_argument("--only-newest", action="store_true", help="compare with the newest versions, run no old class")
    parser.add_argument("--output", metavar="FORMAT:PATH", action="append", default=[])
    read = parser.parse_args()
    strange = [name for name in read.stacks if name not in STACKS]
    if strange:
        parser.error(f"no stack {', '.join(strange)}; there are {', '.join(STACKS)}")
    return read


def main() -> int:
    """Run the matrix, print it and write the files that were asked for."""
    asked = arguments()
    try:
        chosen = [spread(find(name), asked.cases) for name in asked.classes or migrated_names()]
        report = report_of(asked.stacks, chosen, asked.only_newest)
    except CompatError as error:
        print(f"[matrix] {error}", file=sys.stderr)
        return error.exit_code
    print(as_text(report, Style()))
    for output in asked.output:
        format, _, path = output.partition(":")
        with open(path, "w", encoding="utf-8") as file:
            file.write(render(report, format) + "\n")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
