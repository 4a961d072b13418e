"""Stage ``recorded``: classes that no architecture file knows are what a project recorded of them (`--references`)."""

from __future__ import annotations

from collections.abc import Iterator

from viscy_compat.comparison.results import ClassResult
from viscy_compat.findings import Finding
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.references.own_classes import judge_own_class, package_for
from viscy_compat.references.records import Reference
from viscy_compat.workers.worker import Worker

NAME = "recorded"


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class."""
    candidate = workshop.setting.candidate
    ours = [row for row in workshop.setting.strangers if package_for(row, candidate) == candidate]
    for reference in ours:
        yield _stage_result(judge_own_class(workshop.worker, candidate, reference))
    others = [row for row in workshop.setting.strangers if row not in ours]
    if others:
        yield from _others(workshop, others)


def _others(workshop: Workshop, references: list[Reference]) -> Iterator[StageResult]:
    """Judge classes of other packages in a worker of their own, since some of them are part of the stack."""
    with Worker("candidate", python=workshop.setting.options.get("candidate_python")) as worker:
        for reference in references:
            package = package_for(reference, workshop.setting.candidate)
            package.prepare(worker)
            yield _stage_result(judge_own_class(worker, package, reference))


def _stage_result(result: ClassResult) -> StageResult:
    facts = result.to_dict()
    details = {name: facts[name] for name in ("generation", "configurations", "failures", "source")}
    if not result.configurations:
        return StageResult(
            NAME, result.name, (Finding("VC620", f"{result.name}: no case is recorded"),), undecided=True
        )
    return StageResult(NAME, result.name, tuple(result.findings), details=details)
