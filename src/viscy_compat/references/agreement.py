"""A candidate against the recorded references: layouts exactly, numbers by samples. No old code is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import cast

from viscy_compat.architectures.architecture import AcceptedDifference, Architecture, Case
from viscy_compat.comparison.amounts import Amount
from viscy_compat.comparison.cases import free, never_ran, refusals
from viscy_compat.comparison.failures import UNDECIDED, Failure, Judgement
from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.layout import fold, spell_count
from viscy_compat.old_code.cases import rows_for
from viscy_compat.references.records import RecordedCase, RecordedPass, RecordedRefusal, Reference, TensorRecord
from viscy_compat.workers.answers import (
    MODES,
    Mode,
    Pass,
    Raised,
    Run,
    WorkerAnswer,
    WorkerOutput,
    name_outputs,
    read_answer,
)
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.sides import Progress
from viscy_compat.workers.worker import Worker

TOLERANCE = 1e-4
"""Of the recorded root mean square: what another CPU or another torch may change."""

_ALIKE = 30.0
"""How much further than by itself an output may be from the record: both distances are those of a few elements."""


def run_of(record: RecordedCase, target: str, architecture: Architecture) -> Run:
    """Return the request that lets a candidate do what was recorded."""
    samples = max([1, *(len(row.samples) for row in record.weights)])
    report = ("layout", "initial", "eval", "train")
    options = {"samples": samples, "tensors": architecture.companions(record.input)}
    return Run(
        "candidate",
        target,
        config=architecture.for_worker(record.config),
        input=record.input,
        report=report,
        seed=0,
        options=options,
    )


def compare_recorded(
    record: RecordedCase,
    new: WorkerAnswer,
    case: Case,
    rows: Sequence[AcceptedDifference] = (),
    names: Sequence[str] = (),
) -> Judgement:
    """Compare what a candidate said of one case with what is recorded of the old class.

    Parameters
    ----------
    record : RecordedCase
        What is recorded of the old class.
    new : WorkerAnswer
        With layout, initial weights and passes, with samples.
    case : Case
        The case; failures name it.
    rows : Sequence[AcceptedDifference]
        The accepted differences that apply to the case.
    names : Sequence[str]
        What the class calls its outputs, in order.
    """
    if gaps := list(_gaps(record, new)):
        return Judgement((Failure(UNDECIDED, f"nothing can be said: {', '.join(gaps)}", case),))
    old = Raised(record.refusal.stage, record.refusal.type, "") if record.refusal else None
    if old or new.error:
        return refusals(old, new.error, case, rows, ran=False)
    failures = list(layout_failures(record.layout, new.layout, case))
    # samples are taken by the places of a layout: of another one they would be of other tensors
    if not failures:
        failures += _weights(record, new, case)
    if failures and never_ran(_as_raised(outcome) for outcome in record.passes.values()):
        return Judgement((free(failures, case),))
    for mode in () if failures else MODES:
        failures += _pass_failures(record, new, mode, case, rows, names)
    return Judgement(tuple(failures))


def _gaps(record: RecordedCase, new: WorkerAnswer) -> Iterator[str]:
    """Say what is missing on either side; samples are told for the tensors of one's own layout, each as many."""
    if record.refusal or new.error:
        return
    yield from (f"nothing is recorded of a pass in {mode} mode" for mode in MODES if mode not in record.passes)
    yield from (f"the candidate did not tell its outputs in {mode} mode" for mode in MODES if mode not in new.passes)
    if new.initial is None or len(new.initial.samples) != len(new.layout):
        yield "the candidate did not tell its initial weights"


def _weights(record: RecordedCase, new: WorkerAnswer, case: Case) -> Iterator[Failure]:
    samples = new.initial.samples if new.initial else ()
    far = [row.name for row, mine in zip(record.weights, samples, strict=True) if _far(row, mine)]
    if far:
        message = f"{len(far)} of {len(samples)} seeded initial weights are not those recorded, from {far[0]} on"
        yield Failure("VC506", message, case, tuple(fold(far)))


def _as_raised(outcome: RecordedPass | RecordedRefusal) -> Raised | None:
    return Raised(outcome.stage, outcome.type, "") if isinstance(outcome, RecordedRefusal) else None


def _pass_failures(
    record: RecordedCase,
    answer: WorkerAnswer,
    mode: Mode,
    case: Case,
    rows: Sequence[AcceptedDifference],
    names: Sequence[str],
) -> Iterator[Failure]:
    old, new = record.passes[mode], answer.passes[mode]
    if isinstance(old, RecordedRefusal) or isinstance(new, Raised):
        now = new if isinstance(new, Raised) else None
        ran = not never_ran(map(_as_raised, record.passes.values()))
        yield from refusals(_as_raised(old), now, case, rows, ran=ran).failures
        return
    form = [(row.name, row.shape, row.dtype) for row in old.outputs]
    if form != [(row.name, row.shape, row.dtype) for row in new.outputs]:
        yield Failure("VC507", f"in {mode} mode forward returns other tensors than recorded", case, mode=mode)
        return
    called = zip(name_outputs(new.outputs, names).items(), old.outputs, strict=True)
    far = [
        (name, row, mine)
        for (name, mine), row in called
        # a record keeps the beginning of a digest; equal bytes need no samples, and NaN is far from itself
        if not mine.digest.startswith(row.digest) and _far(row, mine.samples)
    ]
    if far:
        which = f"{', '.join(name for name, _, _ in far)} {'are' if len(far) > 1 else 'is'}"
        amounts = tuple(_amount(*row) for row in far)
        yield Failure("VC506", f"in {mode} mode {which} not what was recorded", case, mode=mode, amounts=amounts)


def _without_chaos(
    worker: Worker, package: Candidate, trial: tuple[Run, WorkerAnswer, Judgement], names: Sequence[str]
) -> Iterator[Failure]:
    """Ask again with other last bits of the input where outputs are far from the record: some passes hang on nothing else.

    Fifty batch norms over two numbers each, in train mode, make of one rounding an output of the other sign. What another
    processor made of such a pass says nothing.
    """
    run, answer, judgement = trial
    if not any(failure.amounts for failure in judgement.failures):
        yield from judgement.failures
        return
    nudged = replace(run, options={**run.options, "nudge": True})
    again = package.check(worker, read_answer(worker.request(nudged.to_json()), "candidate", nudged))
    why = (
        "other last bits of the input alone move them as far, so that the record of another processor says nothing here"
    )
    for failure in judgement.failures:
        chaotic = _is_chaotic(failure, answer, again, names)
        empty = replace(failure, code="VC505", message=f"{failure.message}, but {why}", amounts=())
        yield empty if chaotic else failure


def _is_chaotic(failure: Failure, answer: WorkerAnswer, again: WorkerAnswer, names: Sequence[str]) -> bool:
    """Whether every output that is far from the record moves about as far by itself."""
    passes = [side.passes.get(cast("Mode", failure.mode)) for side in (answer, again)]
    first, second = (name_outputs(one.outputs, names) if isinstance(one, Pass) else {} for one in passes)
    for amount in failure.amounts:
        if amount.output not in second:
            return False
        one, other = first[amount.output], second[amount.output]
        moved = max((abs(a - b) for a, b in zip(one.samples, other.samples, strict=True)), default=0.0)
        # what does not move by itself, or moves much less than it is away, is away for another reason
        if moved <= TOLERANCE * one.norm or amount.largest > _ALIKE * moved:
            return False
    return bool(failure.amounts)


def _amount(name: str, row: TensorRecord, mine: WorkerOutput) -> Amount:
    """Measure the recorded elements, which are few: the output may be further away elsewhere."""
    found = [abs(was - now) for was, now in zip(row.samples, mine.samples, strict=True)]
    largest = max(found, default=0.0) if isfinite(sum(found)) else inf
    return Amount(name, largest, row.norm, "recorded root mean square")


def _far(row: TensorRecord, samples: Sequence[float]) -> bool:
    """Whether any sample is further away than the tolerance; written so that NaN is far from everything."""
    if len(row.samples) != len(samples):
        return True
    limit = TOLERANCE * row.norm
    return not all(abs(was - now) <= limit for was, now in zip(row.samples, samples, strict=True))


def judge_by_reference(
    worker: Worker, architecture: Architecture, reference: Reference, package: Candidate, tell: Progress
) -> ClassResult:
    """Compare one class of a candidate with its reference."""
    blobs = {path: blob for files in reference.sources.values() for path, blob in files.items()}
    origin = Origin("recorded", reference.generation, blobs=blobs, proven=False, conditions=(worker.conditions,))
    runs = [run_of(record, package.target(architecture), architecture) for record in reference.cases]
    for run in runs:
        worker.send(run.to_json())
    trials: list[tuple[Run, WorkerAnswer, Judgement]] = []
    used: dict[str, None] = {}
    for record, run in zip(reference.cases, runs, strict=True):
        case = record.case
        rows = rows_for(architecture, reference.generation, case.config)
        answer = package.check(worker, read_answer(worker.receive(), "candidate", run))
        judgement = compare_recorded(record, answer, case, rows, architecture.outputs)
        trials.append((run, answer, judgement))
        used.update(dict.fromkeys(judgement.accepted))
    failures = [failure for trial in trials for failure in _without_chaos(worker, package, trial, architecture.outputs)]
    count = len(reference.cases)
    difference = spell_count(len(failures), "difference") if failures else "no differences"
    tell(f"{architecture.name}: {spell_count(count, 'case')}, {difference}")
    return ClassResult(
        architecture.name,
        reference.generation,
        origin=origin,
        configurations=count,
        failures=tuple(failures),
        accepted=tuple(used),
    )
