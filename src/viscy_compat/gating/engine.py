"""The gate: runs its stages over every class, applies waivers, and lets nothing pass that was not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from viscy_compat.errors import CompatError, Interrupted, MissingExtra, SourceUnavailable
from viscy_compat.exhibits import Exhibits, Table
from viscy_compat.findings import CATALOGUE, Finding, Report
from viscy_compat.gating.stage import Setting, Stage, StageResult, WaivedFinding, Workshop
from viscy_compat.waivers import Waiver, judge_waivers, table_of

WAIVERS = "waivers"


def gate(
    setting: Setting, stages: Sequence[Stage], waivers: Sequence[Waiver] = (), *, whole: bool = False
) -> Report[StageResult]:
    """Run stages and return one result for each stage and class.

    Parameters
    ----------
    setting : Setting
        What is judged.
    stages : Sequence[Stage]
        What is run, in this order.
    waivers : Sequence[Waiver]
        Accepted differences. They never cover a stage that could not run.
    whole : bool
        Whether these are all stages that there are; only then a waiver can be called unused.

    Returns
    -------
    Report
        True where everything holds. A stage that could not run, or that left out a class, is never a pass.
    """
    results: list[StageResult] = []
    causes: dict[str, str] = {}
    try:
        with Workshop(setting) as workshop:
            for stage in stages:
                # every stage looks for the old code: what keeps it away would be told by each of them
                fresh = (_say_once(stage, result, causes) for result in results_of(stage, workshop))
                results += [waive(result, waivers) for result in fresh]
    except KeyboardInterrupt as stop:
        more = stop.report.results if isinstance(stop, Interrupted) else ()
        results += [waive(result, waivers) for result in more]
        raise Interrupted(_partial_report(results, setting, stages)) from stop
    used_ids = [row.waiver.id for result in results for row in result.waived]
    if waivers:
        # where not every stage ran, nobody can say of a row that nothing used it
        judgement = judge_waivers(waivers, used_ids if whole else None)
        results.append(StageResult(WAIVERS, "", judgement, details={"rows": [str(row) for row in waivers]}))
    exhibits = Exhibits(
        tables=tuple(_tables(results, setting, waivers)), maps=tuple(m for row in results for m in row.maps)
    )
    return Report("gate", results, headline=_headline(results, setting, stages), exhibits=exhibits)


def _partial_report(found: Sequence[StageResult], setting: Setting, stages: Sequence[Stage]) -> Report[StageResult]:
    """Return what is known; every class that some stage has not come to is undecided."""
    pairs_said = {(result.stage, result.subject) for result in found}
    pairs = [(stage.name, name) for stage in stages for name in stage.subjects(setting)]
    rest = [
        _undecided_result(stage, name, "interrupted before") for stage, name in pairs if (stage, name) not in pairs_said
    ]
    whole = [*found, *rest]
    exhibits = Exhibits(tables=tuple(_tables(whole, setting, ())))
    return Report("gate", whole, headline=_headline(found, setting, stages), exhibits=exhibits, interrupted=True)


def _say_once(stage: Stage, result: StageResult, causes: dict[str, str]) -> StageResult:
    """Let the first of several stages that one cause ends tell it, and the others refer to that one."""
    # only what ends a whole stage: what is undecided about one class is its own
    first = result.findings[0] if result.undecided and result.findings and not result.subject else None
    if first is None or causes.setdefault(first.message, stage.name) == stage.name:
        return result
    again = first._replace(message=f"for the reason that {causes[first.message]} names", fix="")
    return replace(result, findings=(again, *result.findings[1:]))


def results_of(stage: Stage, workshop: Workshop) -> list[StageResult]:
    """Run one stage, and say of every class that it could not be decided where the stage does not say anything.

    Where the recorded references were accepted as a source, a stage that must run old code and has none is left out,
    and the headline says so.
    """
    setting = workshop.setting
    setting.progress(f"{stage.name}: {stage.what}")
    results, failure = [], None
    try:
        for result in stage.run(workshop):
            results.append(result)
    except SourceUnavailable as error:
        if stage.runs_old_code and setting.accepts_recorded:
            return [*results, _left_out(stage, error)]
        failure = could_not_run(stage.name, error)
    except MissingExtra as error:
        if stage.builds and setting.reads_instead(error):
            return [*results, _left_out(stage, error)]
        failure = could_not_run(stage.name, error)
    except CompatError as error:
        failure = could_not_run(stage.name, error)
    except KeyboardInterrupt as stop:
        raise Interrupted(Report("gate", results, interrupted=True)) from stop
    subjects = {result.subject for result in results}
    # silence is no pass: a stage that forgets a class would let anything through
    silent = [name for name in stage.subjects(setting) if name not in subjects]
    if failure:
        return [*results, replace(failure, details={"not_reached": silent})]
    return [*results, *(_undecided_result(stage.name, name, "the stage said nothing about it") for name in silent)]


def _left_out(stage: Stage, error: CompatError) -> StageResult:
    fix = f"; {error.fix}" if isinstance(error, MissingExtra) else ""
    return StageResult(stage.name, "", headline=f"{stage.name} left out ({error.message}{fix})", left_out=True)


def could_not_run(stage: str, error: CompatError) -> StageResult:
    """Return the result of a stage that could not run."""
    code = error.code if error.code in CATALOGUE else "VC620"
    where = f"{error.where}: " if error.where else ""
    return StageResult(stage, "", (Finding(code, f"{where}{error.message}", fix=error.fix),), undecided=True)


def waive(result: StageResult, waivers: Sequence[Waiver]) -> StageResult:
    """Move the errors that a row accepts out of the findings; rows that have expired accept nothing."""
    rest, waived = [], list(result.waived)
    for finding in result.findings:
        # a row may be about the code, or about the law of explore that a finding names as its key
        about = (finding.code, *finding.keys) if finding.code == "VC510" else (finding.code,)
        rows = (row for row in waivers if not row.expired and any(row.covers(result.subject, one) for one in about))
        # what could not be decided is accepted by nobody, and only errors need it
        row = next(rows, None) if not result.undecided and finding.severity == "error" else None
        if row is None:
            rest.append(finding)
        else:
            waived.append(WaivedFinding(row, finding))
    return replace(result, findings=tuple(rest), waived=tuple(waived))


def _undecided_result(stage: str, name: str, why: str) -> StageResult:
    return StageResult(stage, name, (Finding("VC620", f"{name}: {why}"),), undecided=True)


def _tables(found: Sequence[StageResult], setting: Setting, waivers: Sequence[Waiver]) -> Iterator[Table]:
    """Give the matrix of classes and stages, worst verdict of each, and every waiver."""
    stages = list(dict.fromkeys(result.stage for result in found if result.stage != WAIVERS))
    names = [*(row.name for row in setting.classes), *(row.name for row in setting.strangers)]
    rows = [(name, *(_mark(found, name, stage) for stage in stages)) for name in names]
    yield Table("classes", ("class", *stages), tuple(rows))
    if waivers:
        yield table_of(waivers)
    pairs = [(result, row) for result in found for row in result.waived]
    if pairs:
        cells = tuple((result.title, row.waiver.id, row.finding.code, row.finding.message) for result, row in pairs)
        yield Table("waived", ("result", "waiver", "code", "what"), cells)


def _mark(found: Sequence[StageResult], name: str, stage: str) -> str:
    here = [result for result in found if result.stage == stage]
    # what a stage says as a whole is about the classes that it looks at
    about = (name, "") if "." not in name or any("." in result.subject for result in here) else (name,)
    mine = [result for result in here if result.subject in about]
    # of results that block nothing, one that was waived or left out says more than one that holds
    return max(mine, key=lambda result: (result.exit_code, result.verdict != "holds")).verdict if mine else "-"


def _headline(found: Sequence[StageResult], setting: Setting, stages: Sequence[Stage]) -> str:
    """Name the source of the old classes; without one it was the recorded layouts."""
    headlines = [row.headline for row in found if row.headline]
    if all(row.left_out for row in found if row.headline):
        # an open gate says nothing of eps, activations or dropout then, and nobody who reads on must think that it does
        static = ", no numbers compared" if all(row.kind == "static" for row in stages) else ""
        headlines = [f"{setting.candidate.title} against recorded layouts{static}", *headlines]
    return "; ".join(
        [*headlines, f"profile {setting.profile}"] if any(row.name == "explore" for row in stages) else headlines
    )
