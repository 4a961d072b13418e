"""`verify`: the old classes rebuilt from history against the migrated ones, case by case, bit by bit. No torch here."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Case
from viscy_compat.comparison.amounts import measure
from viscy_compat.comparison.cases import compare
from viscy_compat.comparison.evidence import KEPT, SIDES, Evidence
from viscy_compat.comparison.failures import UNDECIDED, Failure
from viscy_compat.comparison.parting import parting_module
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.comparison.signatures import signature_failures
from viscy_compat.errors import Interrupted, SourceUnavailable, UsageError
from viscy_compat.findings import CATALOGUE, Finding, Report
from viscy_compat.layout import printable, spell_count
from viscy_compat.old_code.cases import cases_of, old_arguments, rows_for, unproven
from viscy_compat.old_code.origin import OldClass, Wanted, has_source, resolve, strange_files
from viscy_compat.references import records
from viscy_compat.references.agreement import judge_by_reference
from viscy_compat.workers.answers import REPORT, ClassDescription, Mode, Pass, Run, WorkerAnswer, name_outputs
from viscy_compat.workers.candidate import PACKAGE, Candidate, read_candidate
from viscy_compat.workers.sides import Pair, Progress, Setup, Sides, sides, source_name
from viscy_compat.workers.worker import Device, Worker, WorkerLimits

_SAMPLES = 64
"""Elements of each output that are compared where bytes say nothing: four times so many of each output are told."""


def verify(
    classes: Iterable[str] | None = None,
    *,
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
    wheel: str | None = None,
    recorded: bool = False,
    allow_recorded: bool = False,
    trust_repo: bool = False,
    candidate: str = PACKAGE,
    candidate_python: str | None = None,
    legacy_python: str | None = None,
    seed: int = 0,
    jobs: int = 2,
    timeout: float | None = None,
    device: Device = "cpu",
    save_evidence: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    pair: Pair | None = None,
) -> Report[ClassResult]:
    """Rebuild the old classes from history and compare the migrated ones with them.

    Constructor, ordered names, shapes, dtypes, seeded initial weights, and under equal weights the outputs in eval and
    train mode, buffers and random-number generator afterwards: all must be equal, byte for byte, at one thread.

    Parameters
    ----------
    classes : Iterable[str], optional
        Class names; all known ones by default.
    repo, rev, wheel, recorded, trust_repo
        Where the old code comes from; see `viscy_compat.old_code.origin.Wanted`.
    allow_recorded : bool
        Whether falling back to the recorded references may count as a pass.
    candidate : str
        An importable package, or a folder that holds a package ``viscy_models``.
    candidate_python, legacy_python : str, optional
        Interpreters of the two workers.
    seed : int
        Set before every construction and every forward pass.
    jobs : int
        Workers that compute at once, in pairs; never threads.
    timeout : float, optional
        Seconds for one case.
    device : {"cpu", "cuda"}
        Where both sides compute. On a GPU deterministic algorithms alone are used; a pass that has none is compared by
        distance, and the report says so.
    save_evidence : path, optional
        A folder for the tensors of both sides where numbers differ.
    progress : Callable[[str], None], optional
        Is told what is going on.
    pair : Pair, optional
        Workers that are running for several purposes, on this candidate; then none is started.

    Returns
    -------
    Report
        A result for each class; true where everything holds.

    Raises
    ------
    CompatError
        Nothing could be decided: no source, no such class, a worker that failed.
    """
    # whoever shows progress is a command, and names its own flags
    if recorded and progress is None and (legacy_python or save_evidence):
        name = "legacy_python" if legacy_python else "save_evidence"
        # level 3: the line that called the public function, which wraps this one
        warnings.warn(f"{name} changes nothing beside recorded=True, which runs no old code", stacklevel=3)
    chosen = [find(name) for name in (classes or migrated_names())]
    package = read_candidate(candidate)
    if jobs < 1 or seed < 0:
        raise UsageError("--jobs counts from 1 and --seed from 0")
    wanted = Wanted(os.fspath(repo) if repo else None, rev, wheel=wheel, recorded=recorded, trust=trust_repo)
    limits = WorkerLimits() if timeout is None else WorkerLimits(request=timeout)
    setup = Setup(legacy_python, candidate_python, limits, jobs, device=device, pair=pair)
    if device == "cuda":
        _refuse_without_gpu(setup, recorded=recorded)
    tell = progress or (lambda line: None)
    if recorded:
        return _against_references(chosen, package, setup, seed, tell)
    try:
        olds = resolve([row for row in chosen if wanted.clone or has_source(row)], wanted)
        olds = {name: _as_recorded_files(name, old) for name, old in olds.items()}
    except SourceUnavailable as error:
        # whoever names a source wants that one; and references, recorded on a CPU, say nothing of a GPU's last bits
        if error.code != "VC601" or wanted.clone or wheel or device == "cuda":
            raise
        tell(f"falling back to the recorded references: {error}")
        return _against_references(chosen, package, setup, seed, tell, because=error, accepted=allow_recorded)
    evidence = Evidence(os.fspath(save_evidence) if save_evidence else "")
    # a frozen state is in no release: without a source that is named, what was recorded of it is the old side
    newest = [] if wanted.clone or wheel else [row for row in chosen if row.generations[-1].is_frozen]
    frozen = [row for row in chosen if row in newest or not (wanted.clone or has_source(row))]
    run = [row for row in chosen if row not in frozen]
    headline = _headline([olds[row.name] for row in run], package, frozen)
    headline += ", both on a GPU (cuda, deterministic algorithms)" if device == "cuda" else ""
    comparison = Verification(run, olds, package, seed=seed, evidence=evidence, tell=tell, device=device)
    results: list[ClassResult] = []
    try:
        _as_recorded(frozen, package, setup, tell, results)
        if run:
            tell("starting one worker for each side (torch, timm, MONAI)")
            results += comparison.results(setup)
    except KeyboardInterrupt as stop:
        known_so_far = [*results, *comparison.known]
        raise Interrupted(Report("verify", known_so_far, headline=headline, interrupted=True)) from stop
    order = [row.name for row in chosen]
    return Report("verify", sorted(results, key=lambda result: order.index(result.title)), headline=headline)


def _refuse_without_gpu(setup: Setup, *, recorded: bool) -> None:
    """Refuse at once what would be refused after a download: a GPU that is not there, references of a CPU."""
    if recorded:
        raise UsageError("--device cuda compares two sides, and references were recorded on a CPU", fix="leave one out")
    with Worker("candidate", python=setup.candidate_python, limits=setup.limits, device="cuda") as worker:
        worker.conditions  # noqa: B018  it waits for the import of the stack, and for the GPU


def _as_recorded_files(name: str, old: OldClass) -> OldClass:
    """Say of the files of a frozen state whether they are those that it was recorded from."""
    if not old.generation.is_frozen:
        return old
    recorded = records.read(name, old.generation.name).sources.get(old.generation.name, {})
    strange = tuple(strange_files(old.source, recorded))
    return replace(old, proven=not strange, strange=strange)


def _against_references(
    chosen: Sequence[Architecture],
    package: Candidate,
    setup: Setup,
    seed: int,
    tell: Progress,
    *,
    because: SourceUnavailable | None = None,
    accepted: bool = True,
) -> Report[ClassResult]:
    """Compare with `legacy_refs` alone: on request, or since nothing else is within reach."""
    if seed:
        raise UsageError("the references were recorded with seed 0", fix="leave --seed out")
    why = f"{because.message}; fell back to" if because else "no old code was run, only"
    headline = (
        f"{package.title} against the recorded references ({why} what was recorded: layouts, and numbers by samples)"
    )
    results: list[ClassResult] = []
    # nobody asked for references: what they say is no proof, however well it agrees
    floor = 0 if accepted else 2
    try:
        _as_recorded(chosen, package, setup, tell, results)
    except KeyboardInterrupt as stop:
        raise Interrupted(Report("verify", results, headline=headline, interrupted=True)) from stop
    return Report("verify", results, headline=headline, exit_code=floor)


def _as_recorded(
    chosen: Sequence[Architecture], package: Candidate, setup: Setup, tell: Progress, results: list[ClassResult]
) -> None:
    """Compare classes with what is recorded of their newest generations; results are added as they come."""
    if not chosen:
        return
    references = {row.name: records.read(row.name, row.generations[-1].name) for row in chosen}
    tell("starting the candidate's worker (torch, timm, MONAI)")
    with ExitStack() as stack:
        worker = (setup.pair or stack.enter_context(Pair(setup, package))).candidate
        for row in chosen:
            results.append(judge_by_reference(worker, row, references[row.name], package, tell))


class Verification:
    """One run of `verify` from sources."""

    def __init__(
        self,
        chosen: Sequence[Architecture],
        olds: Mapping[str, OldClass],
        package: Candidate,
        *,
        seed: int,
        evidence: Evidence,
        tell: Progress,
        device: Device = "cpu",
    ) -> None:
        # CUDA has no deterministic algorithm for some passes: where a pass cannot be repeated, numbers say how far it is
        self.placing = {"place": device, "samples": _SAMPLES} if device == "cuda" else {}
        self.chosen, self.olds, self.package, self.seed = chosen, olds, package, seed
        self.evidence, self.tell = evidence, tell
        self._found: dict[str, ClassResult] = {}

    @property
    def known(self) -> list[ClassResult]:
        """What is known so far, in the order in which it was asked for."""
        return [self._found[row.name] for row in self.chosen if row.name in self._found]

    def results(self, setup: Setup) -> list[ClassResult]:
        """Compare class by class on one pair of workers, or several classes at once on several pairs."""
        # a job is a process, and a pair of workers is two of them
        pairs = 1 if setup.pair else min(max(1, setup.jobs // 2), len(self.chosen))

        def judge_share(number: int) -> None:
            with sides(setup, self.package) as both:
                for architecture in self.chosen[number::pairs]:
                    self._found[architecture.name] = self.judge(both, architecture)

        is_whole = False
        with ThreadPoolExecutor(pairs) as pool:
            try:
                for share in [pool.submit(judge_share, number) for number in range(pairs)]:
                    share.result()
                is_whole = True
            finally:
                # the pool waits for its threads, and an interrupt or a failure of one must not wait for the others
                if not is_whole:
                    setup.crew.end()
        return self.known

    def judge(self, both: Sides, architecture: Architecture) -> ClassResult:
        """Compare one class on two workers."""
        old = self.olds[architecture.name]
        descriptions = both.describe(architecture, old)
        origin = Origin(old.kind, old.revision, blobs=old.source.blobs, proven=old.proven, conditions=both.conditions)
        notes = [*unproven(old, architecture)]
        newest = architecture.generations[-1].name
        if old.generation.name != newest:
            message = f"{old.title} holds generation {old.generation.name} of {architecture.name}; today's is {newest}"
            notes.insert(0, Finding("VC609", message, fix=CATALOGUE["VC609"].remedy))
        result = ClassResult(architecture.name, old.generation.name, origin, 0, notes=tuple(notes))
        if descriptions[1].error:
            message = (
                f"{self.package.target(architecture)} cannot be imported ({printable(str(descriptions[1].error))})"
            )
            return replace(result, failures=(Failure("VC312", message),))
        return self._cases(both, architecture, old, descriptions, result)

    def _cases(
        self,
        both: Sides,
        architecture: Architecture,
        old: OldClass,
        descriptions: tuple[ClassDescription, ClassDescription],
        result: ClassResult,
    ) -> ClassResult:
        cases = cases_of(architecture, old)
        failures: list[Failure] = []
        # the constructor of an older generation differs, which its own finding says
        if old.generation.name == architecture.generations[-1].name:
            failures += signature_failures(descriptions[0].signature, descriptions[1].signature)
        accepted: dict[str, None] = {}
        runs = [self._runs(architecture, old, case) for case in cases]
        computed = 0
        for case, (ours, theirs) in zip(cases, both.both(runs), strict=True):
            rows = rows_for(architecture, old.generation.name, case.config)
            judgement = compare(ours, theirs, case, rows, architecture.outputs)
            failures += judgement.failures
            accepted.update(dict.fromkeys(judgement.accepted))
            computed += not (ours.error and theirs.error)
        if not computed:
            message = "both sides raise alike in every case, so nothing was compared"
            failures.append(Failure(UNDECIDED, message, cases[0] if cases else None))
        located = tuple(self._locate(both, architecture, old, failures))
        self.evidence.note(architecture.name, located)
        count = sum(CATALOGUE[failure.code].severity == "error" for failure in located)
        difference = spell_count(count, "difference") if count else "no differences"
        self.tell(f"{architecture.name}: {spell_count(len(cases), 'case')}, {difference}")
        return replace(result, configurations=len(cases), failures=located, accepted=tuple(accepted))

    def _runs(self, architecture: Architecture, old: OldClass, case: Case, **more: Any) -> tuple[Run, Run]:
        """Return the requests for one case; ``report`` and ``options`` may be given."""
        report = more.get("report", REPORT)
        tensors = {"tensors": architecture.companions(case.input)}
        options = [{**tensors, **given} for given in more.get("options", ({}, {}))]
        name = source_name(architecture, old)
        theirs = old_arguments(architecture, old, case.config)
        return (
            Run(
                name,
                old.target,
                config=theirs,
                input=case.input,
                report=report,
                seed=self.seed,
                options={**self.placing, **options[0]},
            ),
            Run(
                "candidate",
                self.package.target(architecture),
                config=architecture.for_worker(case.config),
                input=case.input,
                report=report,
                seed=self.seed,
                options={**self.placing, **options[1]},
            ),
        )

    def _locate(
        self, both: Sides, architecture: Architecture, old: OldClass, failures: Sequence[Failure]
    ) -> Iterator[Failure]:
        """Name the module where the models part, and how far, for failures of a forward pass, and keep the tensors."""
        # by name: several failures of one case need one more run of it
        asked = {f.case.name: f.case for f in failures if f.code in KEPT and f.case}
        with tempfile.TemporaryDirectory(prefix="viscy-compat-") as folder:
            evidence = self.evidence if self.evidence.folder else Evidence(folder)
            traces = {}
            for case in asked.values():
                codes = {failure.code for failure in failures if failure.case is case}
                options = evidence.options(architecture, case, codes)
                report = (
                    ("modules", "eval", "train", "initial") if self.evidence.folder else ("modules", "eval", "train")
                )
                runs = self._runs(architecture, old, case, report=report, options=options)
                traces[case.name] = next(iter(both.both([runs])))
            for failure in failures:
                about = failure.case if failure.case and failure.code in ("VC501", "VC503") else None
                yield _with_module(failure, traces[about.name], evidence, architecture) if about else failure


def _with_module(
    failure: Failure, answers: tuple[WorkerAnswer, WorkerAnswer], evidence: Evidence, architecture: Architecture
) -> Failure:
    mode: Mode = "train" if failure.mode == "train" else "eval"
    module = parting_module(answers[0].calls.get(mode, ()), answers[1].calls.get(mode, ()))
    # the other codes are about what a pass leaves behind, and outputs may be equal there
    if failure.code != "VC501" or failure.case is None:
        return replace(failure, module=module)
    old, new = (evidence.place(architecture.name, failure.case, side) for side in SIDES)
    # outputs are called what the class calls them; a worker knows their places alone
    ran = answers[0].passes.get(mode)
    outputs = name_outputs(ran.outputs, architecture.outputs) if isinstance(ran, Pass) else {}
    names = {output.name: name for name, output in outputs.items()}
    amounts = [replace(row, output=names.get(row.output, row.output)) for row in measure(old, new, mode)]
    return replace(failure, module=module, amounts=tuple(amounts))


def _headline(olds: Iterable[OldClass], package: Candidate, frozen: Sequence[Architecture]) -> str:
    sources = {old.title: old.proven for old in olds}
    titles = [f"{title}{', proven by git blob ids' if proven else ''}" for title, proven in sources.items()]
    frozen_titles = [f"{row.name} {row.generations[-1].name} as it was frozen" for row in frozen]
    return f"{package.title} against {' and '.join([*titles, *frozen_titles])}"
