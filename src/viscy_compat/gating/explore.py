"""Stage ``explore``: the laws of shapes hold for configurations and inputs that hypothesis draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from viscy_compat.errors import Interrupted, lacking
from viscy_compat.findings import Finding
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.report.maps import map_of

if TYPE_CHECKING:
    from viscy_compat.exploring.exploration import Exploration

NAME = "explore"
_OPTIONS = ("repo", "rev", "wheel", "trust_repo", "candidate_python", "legacy_python", "jobs")


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class.

    Raises
    ------
    MissingExtra
        hypothesis is not installed.
    SourceUnavailable
        The old classes cannot be had.
    """
    workshop.setting.needs_old_code()
    try:
        from viscy_compat.exploring.exploration import explore
    except ModuleNotFoundError as error:
        raise lacking("exploring", error.name, "explore") from error
    setting = workshop.setting
    classes = [architecture for architecture in setting.classes if not setting.own(architecture.name)]
    for architecture in setting.classes:
        if architecture not in classes:
            # the laws are about the layout that the architecture file knows
            why = f"{NAME} left out for {architecture.name} (it has a reference of your own)"
            yield StageResult(NAME, architecture.name, headline=why, left_out=True)
    if not classes:
        return
    names = [architecture.name for architecture in classes]
    options = {name: setting.options[name] for name in _OPTIONS if name in setting.options}
    package = setting.candidate.folder or setting.candidate.name
    try:
        report = explore(
            names,
            profile=setting.profile,
            candidate=package,
            progress=setting.progress,
            pair=workshop.pair,
            **options,
        )
    except Interrupted as stop:
        yield from map(_stage_result, stop.report.results)
        raise
    for architecture, result in zip(classes, report.results, strict=True):
        # a class without an argument about sizes has nothing to draw
        maps = (map_of(architecture, {}),) if architecture.map_axes else ()
        yield replace(_stage_result(result), maps=maps)  # type: ignore[arg-type]


def _stage_result(result: Exploration) -> StageResult:
    """Name the broken law as the key of each finding, so that a waiver can be about it."""
    # the page of a gate has no room for the script of every smallest case
    command = f"see the smallest case and a script of it: viscy-compat explore {result.name} --law"
    findings = tuple(
        Finding("VC510", f"{row.law}: {row.message}", (row.law,), f"{command} {row.law}") for row in result.broken
    )
    facts = result.to_dict()
    details = {name: facts[name] for name in ("source", "cases", "outcomes", "accepted", "failures")}
    undecided = not result.exit_code and not sum(result.cases.values())
    if undecided:
        findings = (Finding("VC620", f"{result.name}: nothing was drawn"),)
    return StageResult(NAME, result.name, findings, undecided=undecided, details=details)
