"""Classes that no architecture file knows: recorded as a package has them, and judged by that record from then on.

A record has keys, shapes, order, constructor, samples of the numbers, and samples of what every module is given and gives,
so that a difference can be blamed on the module where it begins although no old code is run.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.failures import Failure
from viscy_compat.comparison.parting import calls_by_number, parting_module
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.findings import Report
from viscy_compat.layout import printable
from viscy_compat.references import records
from viscy_compat.references.agreement import TOLERANCE, compare_recorded
from viscy_compat.references.recording import (
    SAMPLES,
    Draft,
    ReferenceResult,
    case_record,
    keep,
    package_blobs,
    recipe_of,
)
from viscy_compat.references.records import RecordedCase, Reference
from viscy_compat.waivers import version_numbers
from viscy_compat.workers.answers import REPORT, ModuleCall, ModuleNumbers, Run, read_answer
from viscy_compat.workers.candidate import PACKAGE, Candidate
from viscy_compat.workers.sides import Progress
from viscy_compat.workers.worker import Worker, WorkerLimits

_FIELDS = {"config", "input", "tensors"}


def record_class(
    target: str,
    cases: str | os.PathLike[str],
    *,
    candidate: str | None = None,
    candidate_python: str | None = None,
    generation: str | None = None,
    to: str | os.PathLike[str] | None = None,
    check: bool = False,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> Report[ReferenceResult]:
    """Record one class of a package as it is.

    Parameters
    ----------
    target : str
        ``"package.module:Class"``.
    cases : path
        A TOML file with a table for each case: ``config`` (constructor arguments), ``input`` (the shape that is fed) and,
        where ``forward`` takes more, ``tensors`` (further shapes by name).
    candidate : str, optional
        A folder that holds the package; by default the one that is installed.
    candidate_python : str, optional
        The interpreter that has it.
    generation : str, optional
        The name of this state; ``"v1"`` by default.
    to : path, optional
        The folder of the references; ``legacy_refs`` in the current folder by default.
    check : bool
        Write nothing; a reference that would change is a finding.
    timeout, progress
        As in `viscy_compat.record`.

    Raises
    ------
    UsageError
        The class or the cases are not written as they must be.
    WorkerFailed
        The class cannot be imported, or a case cannot be built.
    """
    package, asked = package_of(target, candidate), read_cases(cases)
    root, tell = Path(to or "legacy_refs"), progress or (lambda line: None)
    limits = WorkerLimits() if timeout is None else WorkerLimits(request=timeout)
    with Worker("candidate", python=candidate_python, cache=1, limits=limits) as worker:
        package.prepare(worker)
        reference = reference_of(worker, package, target, generation or "v1", asked)
    row = keep(Draft(reference), root, check=check, tell=tell)
    return Report("record", [row] if row else [], headline=f"references in {root}")


def package_of(target: str, candidate: str | None = None) -> Candidate:
    """Return the package of a class, in a folder where one is named."""
    module, colon, name = target.partition(":")
    parts = [*module.split("."), name]
    if not colon or not all(part.isidentifier() for part in parts):
        fix = "for example --class torchvision.models:ResNet"
        raise UsageError(f"{printable(target)!r} is no class", where="--class", fix=fix)
    # a name, not a folder: the package that is installed
    if candidate in (None, parts[0]):
        return Candidate(parts[0])
    folder = os.path.abspath(candidate or "")
    if not os.path.isfile(os.path.join(folder, parts[0], "__init__.py")):
        raise UsageError(f"there is no package {parts[0]} in {printable(folder)!r}", where="--candidate")
    return Candidate(parts[0], folder)


def read_cases(path: str | os.PathLike[str]) -> tuple[tuple[Case, Mapping[str, Any]], ...]:
    """Read cases, each with the shapes of the further tensors that ``forward`` gets.

    Raises
    ------
    UsageError
        The file cannot be read, or a case is not what a case must be.
    """
    where = os.fspath(path)
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read ({printable(str(error))})", where=where) from error
    # a record without a case would be held by every candidate
    if not found:
        raise UsageError("has no case", where=where, fix="write a table for each: [small] with config and input")
    return tuple(_case_of_row(name, row, f"{where}: {name}") for name, row in found.items())


def own_references(folder: str | os.PathLike[str]) -> tuple[Reference, ...]:
    """Read the references of a folder: of each class the newest state, by the numbers in its name.

    Raises
    ------
    UsageError
        There is no such folder, or nothing in it.
    SourceUnavailable
        One of them is damaged.
    """
    root = Path(folder)
    listed = records.list_references(root) if root.is_dir() else []
    if not listed:
        raise UsageError(f"there are no references in {printable(str(root))!r}", where="--references")
    # dict keeps the last of each name, which is the newest once they are sorted
    newest = dict(sorted(listed, key=lambda row: (row[0], version_numbers(row[1]), row[1])))
    return tuple(records.read(name, state, root=root) for name, state in newest.items())


def judge_own_class(worker: Worker, package: Candidate, reference: Reference) -> ClassResult:
    """Compare a class of a candidate, which its worker has at hand, with what is recorded of it."""
    target = target_of(reference, package)
    description = package.describe_target(worker, target)
    blobs = {path: blob for files in reference.sources.values() for path, blob in files.items()}
    origin = Origin("recorded", reference.generation, blobs=blobs, proven=False, conditions=(worker.conditions,))
    result = ClassResult(reference.name, reference.generation, origin, len(reference.cases))
    if description.error:
        message = f"{target} cannot be imported ({printable(str(description.error))})"
        return replace(result, failures=(Failure("VC312", message),))
    # a class of your own is recorded from one source, so that there is one signature
    was = next(iter(reference.signatures.values()))
    failures = [*_signature(was, tuple(map(str, description.signature)))]
    for case in reference.cases:
        failures += _compare_case(worker, package, target, case)
    return replace(result, failures=tuple(failures))


def target_of(reference: Reference, package: Candidate) -> str:
    """Return the class for a worker.

    Examples
    --------
    >>> target_of(Reference("viscy_models.unet.Unet3d", "v1", {}, {}, {}, ()), Candidate("theirs"))
    'theirs.unet:Unet3d'
    """
    module, _, name = reference.name.rpartition(".")
    return f"{package.name}{module.removeprefix(module.partition('.')[0])}:{name}"


def package_for(reference: Reference, candidate: Candidate) -> Candidate:
    """Return where a recorded class is looked for: the candidate has our package, any other one is what is installed."""
    root = reference.name.partition(".")[0]
    return candidate if root in (PACKAGE, candidate.name) else Candidate(root)


def _case_of_row(name: str, row: Any, where: str) -> tuple[Case, Mapping[str, Any]]:
    fix = "a case has config (a table) and input (a shape), and perhaps tensors (a table of shapes)"
    if not isinstance(row, Mapping) or not isinstance(row.get("config", {}), Mapping):
        raise UsageError("is no case", where=where, fix=fix)
    more = row.get("tensors", {})
    shapes = [row.get("input"), *(more.values() if isinstance(more, Mapping) else [None])]
    # not isinstance: true is an int, and no size
    are_shapes = all(
        isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape) for shape in shapes
    )
    if set(row) - _FIELDS or not are_shapes:
        raise UsageError("is no case", where=where, fix=fix)
    return Case(name, row.get("config", {}), tuple(row["input"])), more


def _run(target: str, case: Case, tensors: Mapping[str, Any], report: Sequence[str] = (*REPORT, "modules")) -> Run:
    options = {"samples": SAMPLES, "norms": True, "modes": ["eval"], "tensors": dict(tensors)}
    return Run(
        "candidate",
        target,
        config=_as_lists(case.config),
        input=case.input,
        report=tuple(report),
        seed=0,
        options=options,
    )


def _as_lists(value: Any) -> Any:
    """Let lists arrive as the lists that they are in the file; a worker would take them for tuples."""
    if isinstance(value, Mapping):
        return {name: _as_lists(item) for name, item in value.items()}
    return {"list": [_as_lists(item) for item in value]} if isinstance(value, list | tuple) else value


def reference_of(
    worker: Worker, package: Candidate, target: str, generation: str, asked: Sequence[tuple[Case, Mapping[str, Any]]]
) -> Reference:
    """Return what a class of a package, which its worker has at hand, does in every case."""
    description = package.describe_target(worker, target)
    if description.error:
        message = f"{target} cannot be imported ({printable(str(description.error))})"
        raise WorkerFailed(message, where="--class", code="VC312")
    cases = []
    for case, more in asked:
        run = _run(target, case, more)
        answer = package.check(worker, read_answer(worker.request(run.to_json()), "candidate", run))
        if answer.error:
            message = f"{target} raises {printable(str(answer.error))}"
            raise WorkerFailed(
                message, where=f"case {case.name}", fix="a case must be one that can be built", code="VC504"
            )
        found = case_record(case, generation, {"tensors": dict(more)} if more else {}, answer)
        cases.append(replace(found, modules=answer.felt.get("eval", ())))
    sources = {generation: package_blobs(description.file, package.name)}
    signatures = {generation: tuple(map(str, description.signature))}
    name = target.replace(":", ".")
    return Reference(
        name=name,
        generation=generation,
        recipe=recipe_of(worker),
        sources=sources,
        signatures=signatures,
        cases=tuple(cases),
    )


def _signature(was: Sequence[str], now: Sequence[str]) -> Iterator[Failure]:
    """Say what old calls would mean something else now; arguments with a default may be added at the end."""
    for place, row in enumerate(was):
        if place >= len(now) or now[place] != row:
            is_now = now[place] if place < len(now) else "gone"
            yield Failure("VC311", f"argument {place + 1} was {row} and is {is_now}", keys=(row.partition("=")[0],))
    for row in now[len(was) :]:
        if "=" not in row and row not in ("args", "kwargs"):
            yield Failure("VC311", f"{row} is a new argument without a default", keys=(row,))


def _compare_case(worker: Worker, package: Candidate, target: str, record: RecordedCase) -> Iterator[Failure]:
    """Compare one case; the module where the numbers part is looked for where they do."""
    case = Case(record.name, record.config, record.input)
    tensors = record.arguments.get("tensors", {})
    run = _run(target, case, tensors, REPORT)
    answer = package.check(worker, read_answer(worker.request(run.to_json()), "candidate", run))
    failures = compare_recorded(record, answer, case).failures
    blame = ""
    # a second run, only where it is needed: it reports what every module is given and gives
    if record.modules and any(row.code == "VC506" and row.mode for row in failures):
        traced = _run(target, case, tensors, ("eval", "modules"))
        felt = read_answer(worker.request(traced.to_json()), "candidate", traced).felt.get("eval", ())
        blame = parting_module(*_calls(record.modules, felt))
    yield from (replace(row, module=blame) if row.mode else row for row in failures)


def _calls(old: Sequence[ModuleNumbers], new: Sequence[ModuleNumbers]) -> tuple[list[ModuleCall], list[ModuleCall]]:
    """Turn numbers into calls that `parting_module` understands: near is the same, far is not."""
    theirs = calls_by_number(old)
    calls = []
    for key, row in calls_by_number(new).items():
        was = theirs.get(key)
        near = [_near(was.given, row.given), _near(was.returned, row.returned)] if was else [False, False]
        calls.append(ModuleCall(row.module, row.type, *("same" if same else "other" for same in near)))
    return [ModuleCall(row.module, row.type, "same", "same") for row in old], calls


def _near(old: Sequence[float], new: Sequence[float]) -> bool:
    """Whether numbers are those recorded: root mean square and elements of each tensor, within the tolerance of it."""
    if len(old) != len(new):
        return False
    # of the largest: an element near zero may be off by more than its own size
    scale = max((abs(value) for value in old), default=0.0)
    return all(abs(was - now) <= TOLERANCE * scale for was, now in zip(old, new, strict=True))
