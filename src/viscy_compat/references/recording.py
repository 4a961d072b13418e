"""`record`: run the old classes, or a candidate that is to be frozen, and keep what they told in `legacy_refs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Case, Generation, Release
from viscy_compat.errors import Interrupted, OutputRefused, UsageError, WorkerFailed
from viscy_compat.findings import Finding, Report, html_of, line_of
from viscy_compat.layout import printable, spell_count
from viscy_compat.old_code.cases import cases_of, old_arguments
from viscy_compat.old_code.git import from_git
from viscy_compat.old_code.origin import OldClass, Wanted, list_few, old_class
from viscy_compat.old_code.tree import OldTree, blob_id
from viscy_compat.old_code.wheel import from_wheel
from viscy_compat.references import records
from viscy_compat.references.records import (
    RecordedCase,
    RecordedPass,
    RecordedRefusal,
    Reference,
    TensorRecord,
    digest_together,
    short,
)
from viscy_compat.workers.answers import (
    REPORT,
    ClassDescription,
    Pass,
    Raised,
    Run,
    WorkerAnswer,
    read_answer,
    read_description,
)
from viscy_compat.workers.candidate import PACKAGE, Candidate, read_candidate
from viscy_compat.workers.sides import Progress
from viscy_compat.workers.worker import Worker, WorkerLimits

SAMPLES = 2
"""Numbers that are recorded of each weight; of each output four times as many."""

FILL = "names 1"
"""The rule by which the worker makes weights and inputs; a new rule gets a new number."""


@dataclass(frozen=True)
class ReferenceResult:
    """What became of one reference: a result of the report.

    Parameters
    ----------
    reference : Reference
        What was recorded.
    where : str
        The file.
    changed : bool
        Whether its bytes are others than before.
    checked : bool
        Whether it was only compared; then a change is a failure.
    size : int
        Its bytes.
    left_out : tuple[str, ...]
        Releases that no source within reach has; their cases were kept as they were.
    wording : Callable[[str], str]
        In whose words remedies are said, as in `viscy_compat.comparison.results.ClassResult`.
    """

    reference: Reference
    where: str
    changed: bool
    checked: bool
    size: int
    left_out: tuple[str, ...] = ()
    wording: Callable[[str], str] = field(default=str, compare=False, repr=False)

    @property
    def title(self) -> str:
        """Class and generation."""
        return f"{self.reference.name} {self.reference.generation}"

    @property
    def exit_code(self) -> int:
        """1 where a reference that was only compared has changed."""
        return int(self.checked and self.changed)

    @property
    def findings(self) -> Sequence[Finding]:
        """The change, where there must be none."""
        if not self.exit_code:
            return ()
        message = f"{self.title}: recording it now gives another file"
        return (Finding("VC607", message, fix=self.wording("viscy-compat record")),)

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return html_of("record", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON."""
        facts = {"class": self.reference.name, "generation": self.reference.generation, "file": self.where}
        cases = {"configurations": len(self.reference.cases), "bytes": self.size, "left_out": list(self.left_out)}
        return {**facts, **cases, "changed": self.changed, "findings": [row.to_dict() for row in self.findings]}


def record(
    classes: Iterable[str] | None = None,
    *,
    repo: str | os.PathLike[str] | None = None,
    trust_repo: bool = False,
    legacy_python: str | None = None,
    candidate: str | None = None,
    candidate_python: str | None = None,
    generation: str | None = None,
    to: str | os.PathLike[str] | None = None,
    check: bool = False,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> Report[ReferenceResult]:
    """Write what the old classes do, for every class, generation and case; or freeze a candidate as a new generation.

    The same sources under the same versions on the same CPU give the same bytes.

    Parameters
    ----------
    classes : Iterable[str], optional
        Class names; all known ones by default.
    repo, trust_repo
        A clone that has the revisions of the architecture files; by default the released wheels are used.
    legacy_python, candidate_python : str, optional
        The interpreter of the worker.
    candidate, generation : str, optional
        The package that is frozen, and the name of the generation that it becomes.
    to : path, optional
        Where the references are; by default those of this installation.
    check : bool
        Write nothing; a reference that would change is a finding.
    timeout : float, optional
        Seconds for one case.
    progress : Callable[[str], None], optional
        Is told what is going on.

    Raises
    ------
    CompatError
        No source, a source that is not the recorded one, a worker that failed, or a folder that cannot be written.
    """
    if bool(candidate) != bool(generation):
        fix = f"record {' '.join(classes or ['CLASS'])} --candidate {candidate or PACKAGE} --generation {generation or 'v1.0'}"
        raise UsageError("--candidate and --generation go together", fix=fix)
    root = Path(to) if to else records.references_root()
    limits = WorkerLimits() if timeout is None else WorkerLimits(request=timeout)
    tell = progress or (lambda line: None)
    chosen = [find(name) for name in (classes or migrated_names())]
    _refuse_early(chosen, generation, root, check=check)
    # one worker for both: whose code it runs is told by the source that it is given, and a candidate needs no second one
    with Worker("old", python=candidate_python if candidate else legacy_python, cache=1, limits=limits) as worker:
        if candidate and generation:
            frozen = Frozen(worker, read_candidate(candidate))
            found: Iterable[Draft] = (frozen.draft(architecture, generation) for architecture in chosen)
        else:
            recorder = Recorder(worker, Wanted(os.fspath(repo) if repo else None, trust=trust_repo))
            states = [(row, state) for row in chosen for state in row.generations if not state.is_frozen]
            found = (recorder.draft(row, state) for row, state in states)
        results: list[ReferenceResult] = []
        headline = f"references in {root}"
        try:
            # row by row: what was kept before a Ctrl-C is in the report of the interrupt
            results.extend(row for draft in found if (row := keep(draft, root, check=check, tell=tell)))
        except KeyboardInterrupt as stop:
            raise Interrupted(Report("record", results, headline=headline, interrupted=True)) from stop
    return Report("record", results, headline=headline)


def _refuse_early(chosen: Sequence[Architecture], generation: str | None, root: Path, *, check: bool) -> None:
    """Refuse what cannot end well before a worker is started."""
    for architecture in chosen:
        if generation in [row.name for row in architecture.generations if not row.is_frozen]:
            message = f"{architecture.name} has a generation {generation}, which old code made"
            raise UsageError(message, where="--generation", fix="name a new one")
    try:
        if not check:
            root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be written ({error.strerror})"
        raise OutputRefused(message, where=str(root), fix="choose another --to") from error


@dataclass(frozen=True)
class Draft:
    """What was recorded, and the releases that no source within reach has."""

    reference: Reference
    left_out: tuple[str, ...] = ()


def keep(draft: Draft, root: Path, *, check: bool, tell: Progress) -> ReferenceResult | None:
    """Write what was recorded, or only compare it; None where there is nothing.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    reference = _with_unreached(draft, root)
    if not reference.cases:
        tell(f"{reference.name} {reference.generation}: left out, it was never released as a wheel (give --repo)")
        return None
    text, path = records.write(reference), root / reference.path
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    # what is the same keeps its date: git and make look at that first
    if text != before and not check:
        try:
            records.store(reference, root)
        except OSError as error:
            message = f"cannot be written ({error.strerror})"
            raise OutputRefused(message, where=str(path), fix="choose another --to") from error
    tell(f"{reference.name} {reference.generation}: {spell_count(len(reference.cases), 'case')}, {len(text)} bytes")
    return ReferenceResult(
        reference=reference,
        where=str(path),
        changed=text != before,
        checked=check,
        size=len(text),
        left_out=draft.left_out,
    )


def _with_unreached(draft: Draft, root: Path) -> Reference:
    """Keep what was recorded before of releases that no source within reach has."""
    reference = draft.reference
    if not draft.left_out or not (root / reference.path).is_file():
        return reference
    before = records.read(reference.name, reference.generation, root=root)
    # without a clone only wheels are within reach: what a clone gave earlier must not be lost by recording again
    older = [case for case in before.cases if case.release in draft.left_out]
    sources = {name: before.sources[name] for name in draft.left_out if name in before.sources}
    signatures = {name: before.signatures[name] for name in draft.left_out if name in before.signatures}
    return replace(
        reference,
        sources={**sources, **reference.sources},
        signatures={**signatures, **reference.signatures},
        cases=(*older, *reference.cases),
    )


class Recorder:
    """Runs the old classes of one generation after the other in one worker."""

    def __init__(self, worker: Worker, wanted: Wanted) -> None:
        self.worker, self.wanted = worker, wanted
        self.trees: dict[str, OldTree] = {}

    def draft(self, architecture: Architecture, generation: Generation) -> Draft:
        """Run every case of one generation, under each of its releases."""
        # every release of a generation, although they have one layout: constants and defaults may differ
        olds = [(release, self._old(generation, release)) for release in generation.releases]
        there = {_label(release): old for release, old in olds if old}
        cases: list[RecordedCase] = []
        signatures = {}
        for label, old in there.items():
            description = _describe(self.worker, label, old)
            signatures[label] = tuple(map(str, description.signature))
            cases += self._cases(architecture, label, old)
        # the files that count: a wheel may have empty __init__.py files that the history lacks
        sources = {
            label: {path: old.source.blobs[path] for path in sorted(old.release.sources) if path in old.source.blobs}
            for label, old in there.items()
        }
        recipe = recipe_of(self.worker)
        reference = Reference(
            name=architecture.name,
            generation=generation.name,
            recipe=recipe,
            sources=sources,
            signatures=signatures,
            cases=tuple(cases),
        )
        return Draft(reference, tuple(_label(release) for release, old in olds if not old))

    def _old(self, generation: Generation, release: Release) -> OldClass | None:
        """Return the files of one release; None where it was never released as a wheel and no clone is given."""
        tree = self._tree(release)
        if tree is None:
            return None
        old = old_class(generation, release, tree)
        if not old.proven:
            message = f"{tree.title} does not hold the recorded files of {generation.qualname} {generation.name}"
            message += f", and no others ({list_few(old.strange)})"
            raise UsageError(message, fix="record from an untouched source", code="VC606")
        return old

    def _tree(self, release: Release) -> OldTree | None:
        clone, name = self.wanted.clone, release.revision if self.wanted.clone else release.wheel
        if name and name not in self.trees:
            self.trees[name] = from_git(clone, name, trust=self.wanted.trust) if clone else from_wheel(name)
        return self.trees.get(name)

    def _cases(self, architecture: Architecture, label: str, old: OldClass) -> Iterator[RecordedCase]:
        cases = cases_of(architecture, old)
        runs = [
            _run(label, old.target, old_arguments(architecture, old, case.config), case, architecture) for case in cases
        ]
        for case, run, answer in zip(cases, runs, _answers(self.worker, runs), strict=True):
            yield case_record(case, label, run.config, answer)


class Frozen:
    """Runs the classes of a candidate, to be the next generation."""

    def __init__(self, worker: Worker, package: Candidate) -> None:
        self.worker, self.package = worker, package
        package.prepare(worker)

    def draft(self, architecture: Architecture, generation: str) -> Draft:
        """Run every case of one class."""
        description = self.package.describe(self.worker, architecture)
        if description.error:
            message = f"{self.package.target(architecture)} cannot be imported ({printable(str(description.error))})"
            raise WorkerFailed(message, where="--candidate", code="VC312")
        runs = [
            _run("candidate", self.package.target(architecture), architecture.for_worker(c.config), c, architecture)
            for c in architecture.cases
        ]
        answers = zip(architecture.cases, runs, _answers(self.worker, runs), strict=True)
        cases = tuple(case_record(case, generation, run.config, answer) for case, run, answer in answers)
        sources = {generation: package_blobs(description.file, self.package.name)}
        signatures = {generation: tuple(map(str, description.signature))}
        return Draft(
            Reference(
                name=architecture.name,
                generation=generation,
                recipe=recipe_of(self.worker),
                sources=sources,
                signatures=signatures,
                cases=cases,
            )
        )


def package_blobs(file: str, package: str) -> dict[str, str]:
    """Return the git blob ids of all files of the package that a class's file lies in."""
    name = package.partition(".")[0]
    # the innermost folder of that name: a clone may be called like the package in it
    top = next((folder for folder in Path(file).parents if folder.name == name), None)
    if top is None:
        message = f"{printable(file)} lies in no folder {name}, so its files cannot be recorded"
        raise WorkerFailed(message, where="--candidate", fix="name a folder that holds the package", code="VC604")
    files = sorted(top.rglob("*.py"))
    return {path.relative_to(top.parent).as_posix(): blob_id(path.read_bytes()) for path in files}


def _label(release: Release) -> str:
    return release.wheel or release.revision


def _describe(worker: Worker, label: str, old: OldClass) -> ClassDescription:
    root = old.generation.module.partition(".")[0]
    worker.source(label, root=root, files=old.source.files, pretrained=False)
    description = read_description(worker.request({"op": "class", "source": label, "class": old.target}), worker.side)
    if description.error:
        message = f"cannot import {old.target} of {old.title} ({printable(str(description.error))})"
        raise WorkerFailed(message, fix="name an interpreter that has what it needs: --legacy-python", code="VC603")
    return description


def _run(source: str, target: str, config: Mapping[str, Any], case: Case, architecture: Architecture) -> Run:
    options = {"samples": SAMPLES, "norms": True, "tensors": architecture.companions(case.input)}
    return Run(source, target, config=config, input=case.input, report=REPORT, seed=0, options=options)


def _answers(worker: Worker, runs: Sequence[Run]) -> Iterator[WorkerAnswer]:
    # all questions before the first answer, so that the worker never waits for us
    for run in runs:
        worker.send(run.to_json())
    for run in runs:
        yield read_answer(worker.receive(), worker.side, run)


def recipe_of(worker: Worker) -> dict[str, Any]:
    """Return how what a worker tells was made."""
    return {**worker.conditions.stack, "seed": 0, "fill": FILL}


# --- answers to records ------------------------------------------------------------------------------------------


def case_record(case: Case, release: str, arguments: Mapping[str, Any], answer: WorkerAnswer) -> RecordedCase:
    """Return what is kept of one answer."""
    record = RecordedCase(
        name=case.name,
        release=release,
        config=case.config,
        arguments=arguments,
        input=case.input,
        refusal=None,
        weights=(),
        generator="",
        passes={},
    )
    if answer.error:
        return replace(record, refusal=RecordedRefusal(answer.error.stage, answer.error.type))
    generator = short(answer.initial.generator) if answer.initial else ""
    passes: dict[str, RecordedPass | RecordedRefusal] = {
        mode: _record_pass(outcome) for mode, outcome in answer.passes.items()
    }
    return replace(record, weights=tuple(_weights(answer)), generator=generator, passes=passes)


def _weights(answer: WorkerAnswer) -> Iterator[TensorRecord]:
    initial = answer.initial
    if initial is None:
        return
    for row in zip(answer.layout.items(), initial.digests, initial.norms, initial.samples, strict=True):
        (name, spec), digest, norm, samples = row
        yield TensorRecord(
            name=name, shape=spec.shape, dtype=spec.dtype, digest=short(digest), norm=norm, samples=samples
        )


def _record_pass(outcome: Pass | Raised) -> RecordedPass | RecordedRefusal:
    if isinstance(outcome, Raised):
        return RecordedRefusal(outcome.stage, outcome.type)
    outputs = tuple(
        TensorRecord(
            name=row.name,
            shape=row.shape,
            dtype=row.dtype,
            digest=short(row.digest),
            norm=row.norm,
            samples=row.samples,
        )
        for row in outcome.outputs
    )
    return RecordedPass(outcome.type, outputs, short(outcome.generator), digest_together(outcome.buffers))
