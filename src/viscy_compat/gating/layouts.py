"""Stage ``layouts``: what the candidate builds has the names, order, shapes and dtypes that the old class had.

The references tell what the old class had. Nothing is computed: the models are built on the meta device, or on the CPU
where a dependency cannot do that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viscy_compat.architectures.architecture import Architecture, Case
from viscy_compat.comparison.cases import free
from viscy_compat.comparison.failures import Failure
from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.gating.check import recorded_layouts
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.layout import printable
from viscy_compat.references.records import RecordedCase, RecordedRefusal
from viscy_compat.workers.answers import Run, WorkerAnswer, read_answer

NAME = "layouts"


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class."""
    for architecture in workshop.setting.classes:
        own = workshop.setting.own(architecture.name)
        newest = architecture.generations[-1]
        cases = own.cases if own else recorded_layouts(architecture, newest)
        cases = [case for case in cases if case.refusal is None]
        failures = [failure for case in cases for failure in _layout_failures(workshop, architecture, case)]
        details = {"configurations": len(cases), "failures": [row.to_dict() for row in failures]}
        if cases:
            yield StageResult(NAME, architecture.name, tuple(findings_of(failures)), details=details)


def findings_of(failures: Sequence[Failure]) -> Iterator[Finding]:
    """Say each failure once, with the cases in which it was seen."""
    groups: dict[tuple[str, tuple[str, ...]], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.code, failure.keys), []).append(failure)
    for (code, keys), seen in groups.items():
        names = list(dict.fromkeys(row.case.name for row in seen if row.case))
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        yield Finding(code, f"{seen[0].sentence} (case {names[0]}{more})", keys, CATALOGUE[code].remedy)


def _layout_failures(workshop: Workshop, architecture: Architecture, record: RecordedCase) -> Iterator[Failure]:
    case = record.case
    answer = _build(workshop, architecture, case, "meta")
    if answer.error and answer.error.type == "NotImplementedError":
        # some operations have no kernel for the meta device
        answer = _build(workshop, architecture, case, "cpu")
    if answer.error:
        yield Failure("VC504", f"the candidate raises {printable(str(answer.error))}", case)
        return
    failures = list(layout_failures(record.layout, answer.layout, case))
    # what raised at every forward pass was never trained: nobody has a checkpoint of it
    if failures and record.passes and all(isinstance(outcome, RecordedRefusal) for outcome in record.passes.values()):
        failures = [free(failures, case)]
    yield from failures


def _build(workshop: Workshop, architecture: Architecture, case: Case, device: str) -> WorkerAnswer:
    target = workshop.setting.candidate.target(architecture)
    run = Run(
        "candidate",
        target,
        config=architecture.for_worker(case.config),
        input=case.input,
        report=("layout",),
        seed=0,
        options={"device": device},
    )
    answer = read_answer(workshop.worker.request(run.to_json()), "candidate", run)
    return workshop.setting.candidate.check(workshop.worker, answer)
