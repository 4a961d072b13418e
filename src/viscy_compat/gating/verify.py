"""Stage ``verify``: the old classes from history and the candidate give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from viscy_compat.comparison.results import ClassResult
from viscy_compat.errors import Interrupted
from viscy_compat.findings import Finding
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.proof.equivalence import verify
from viscy_compat.references.agreement import judge_by_reference

NAME = "verify"


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class, and one where the run as a whole is in doubt (a fall-back nobody asked for)."""
    setting = workshop.setting
    names = [architecture.name for architecture in setting.classes if not setting.own(architecture.name)]
    yield from _by_own_references(workshop)
    if setting.classes and not names:
        return
    package = setting.candidate.folder or setting.candidate.name
    try:
        report = verify(names, candidate=package, progress=setting.progress, pair=workshop.pair, **setting.options)
    except Interrupted as stop:
        yield from map(_stage_result, stop.report.results)
        raise
    for result in report.results:
        yield _stage_result(result)
    floor = max([0, *(result.exit_code for result in report.results)])
    if report.exit_code > floor:
        yield StageResult(NAME, "", (Finding("VC605", report.headline),), undecided=True, headline=report.headline)
    else:
        yield StageResult(NAME, "", headline=report.headline)


def _by_own_references(workshop: Workshop) -> Iterator[StageResult]:
    """Compare classes of which a project recorded a newer state with that; the stage ``remap`` runs the old ones."""
    setting = workshop.setting
    for architecture in setting.classes:
        own = setting.own(architecture.name)
        if own:
            result = judge_by_reference(workshop.worker, architecture, own, setting.candidate, setting.progress)
            headline = f"{architecture.name} against {own.generation} of your own references"
            yield replace(_stage_result(result), headline=headline)


def _stage_result(result: ClassResult) -> StageResult:
    facts = result.to_dict()
    details = {name: facts[name] for name in ("generation", "configurations", "failures", "accepted", "source")}
    findings = tuple(result.findings)
    if not result.configurations and not result.exit_code:
        findings = (Finding("VC620", f"{result.name}: no case was compared"), *findings)
        return StageResult(NAME, result.name, findings, undecided=True, details=details)
    return StageResult(NAME, result.name, findings, undecided=result.exit_code == 2, details=details)
