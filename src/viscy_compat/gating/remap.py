"""Stage ``remap``: an old checkpoint of every class and generation, written on the spot by the old class, loads.

The old class runs in its worker with filled weights; its file is checked, remapped, loaded strictly by the candidate,
and the two must give the same outputs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from viscy_compat.architectures.architecture import Architecture, Case, Generation, complete
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.comparison.amounts import measure
from viscy_compat.errors import CompatError, PlanRefused
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.gating.check import complaint_about, hollow
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.layout import printable, spell_count
from viscy_compat.old_code.cases import rows_for, unproven
from viscy_compat.old_code.origin import OldClass, Wanted, resolve
from viscy_compat.plans.plan import PlanEnd, identity_rows, plan_of
from viscy_compat.rewrite.remapping import remap
from viscy_compat.rewrite.write import Job, OutputSet, write
from viscy_compat.workers.answers import Pass, Raised, Run, WorkerAnswer, name_outputs, read_answer

NAME = "remap"
_WEIGHTS = "weights/"
_PREFIX = "model."


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class.

    Raises
    ------
    SourceUnavailable
        The old classes cannot be had.
    """
    workshop.setting.needs_old_code()
    with tempfile.TemporaryDirectory(prefix="viscy-compat-") as folder:
        for architecture in workshop.setting.classes:
            findings: list[Finding] = []
            # a frozen generation has no code to write a checkpoint with; its layout and numbers are compared as recorded
            ran = [generation for generation in architecture.generations if not generation.is_frozen]
            for generation in ran:
                findings += _generation(workshop, architecture, generation, folder)
            names = [generation.name for generation in ran]
            yield StageResult(NAME, architecture.name, tuple(findings), details={"generations": names})


def smallest(architecture: Architecture, generation: Generation) -> Case:
    """Return the case of a generation with the fewest weights, among those that the old class does not refuse.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> architecture = find("BetaVaeMonai")
    >>> smallest(architecture, architecture.generations[-1]) in architecture.cases
    True
    """

    def weights(case: Case) -> int:
        layout = generation.layout(complete(architecture, case.config))
        return sum(spec.elements for spec in layout.values())

    cases = generation.cases or architecture.cases
    return min((case for case in cases if not rows_for(architecture, generation.name, case.config)), key=weights)


def _generation(
    workshop: Workshop, architecture: Architecture, generation: Generation, folder: str
) -> Iterator[Finding]:
    case = smallest(architecture, generation)
    old = _old_class(workshop, architecture, generation, case)
    yield from unproven(old, architecture)
    place = os.path.join(folder, f"{architecture.name}-{generation.name}")
    answer = _old_answer(workshop, architecture, old, case, f"{place}.weights")
    path, new = f"{place}.ckpt", f"{place}.safetensors"
    _as_lightning(f"{place}.weights", path)
    yield from complaint_about(path, architecture, generation, case)
    try:
        remap(path, new)
        new = _on_to_own(workshop, architecture, case, new)
    except PlanRefused as error:
        yield Finding("VC624", f"{generation.name} {case.name}: {error.message}", fix=CATALOGUE["VC624"].remedy)
    if os.path.exists(new):
        yield from _compare_outputs(workshop, architecture, generation, case, answer, (f"{place}.weights", new))
    # at once and not with the folder, where the weights of every generation would lie together
    for left in (f"{place}.weights", path, new, f"{new}.outputs"):
        if os.path.exists(left):
            os.remove(left)


def _on_to_own(workshop: Workshop, architecture: Architecture, case: Case, new: str) -> str:
    """Migrate a file of today's layout to that of a project's own reference, and return where it is.

    Raises
    ------
    PlanRefused
        The renames cannot be told from names and structure.
    """
    own = workshop.setting.own(architecture.name)
    # what a project recorded of its own is newer than what the architecture file knows
    layouts = [record.layout for record in own.cases if record.name == case.name] if own else []
    if not layouts:
        return new
    sample, further = (
        new.replace(".safetensors", ".sample.safetensors"),
        new.replace(".safetensors", ".own.safetensors"),
    )
    hollow(sample, layouts[0])
    remap(new, further, against=sample)
    return further


def _old_class(workshop: Workshop, architecture: Architecture, generation: Generation, case: Case) -> OldClass:
    """Find the old class of a generation: in the clone that was named, else in the wheel that is recorded for it."""
    release = generation.release(complete(architecture, case.config))
    options = workshop.setting.options
    # a clone has every release; a wheel costs a download, and some releases have none
    repo = options.get("repo") or Wanted().clone
    origin = Wanted(repo=repo, rev=release.revision, trust=bool(options.get("trust_repo"))) if repo else None
    return resolve([architecture], origin or Wanted(wheel=release.wheel))[architecture.name]


def _old_answer(workshop: Workshop, architecture: Architecture, old: OldClass, case: Case, place: str) -> Pass:
    name = f"{old.title} {architecture.name}"
    workshop.old.source(name, root=old.target.partition(".")[0], files=old.source.files, pretrained=False)
    arguments = old.release.arguments(complete(architecture, case.config))
    options = {"save": place, "keep": ["weights", "eval"]}
    run = Run(name, old.target, config=arguments, input=case.input, report=("eval",), seed=0, options=options)
    found = _eval_pass(read_answer(workshop.old.request(run.to_json()), "old", run))
    if isinstance(found, Raised):
        raise CompatError(f"the old class raises {printable(str(found))}", where=f"{old.title} {architecture.name}")
    return found


def _eval_pass(answer: WorkerAnswer) -> Pass | Raised:
    return answer.error or answer.passes["eval"]


def _as_lightning(weights: str, path: str) -> None:
    """Write kept weights as a torch file, under the prefix of a LightningModule."""
    saved = open_checkpoint(weights)
    keys = {name.removeprefix(_WEIGHTS): name for name in saved.tensors if name.startswith(_WEIGHTS)}
    side = PlanEnd({name: saved.tensors[key].spec for name, key in keys.items()})
    plan = plan_of(side, side, identity_rows(side.layout))
    output = OutputSet(saved, keys=keys, plan=plan, prefix=_PREFIX, site=saved.site)
    # the stage itself checks the file
    write(Job(output, out=path, format="torch"), lambda path: None)


def _compare_outputs(
    workshop: Workshop,
    architecture: Architecture,
    generation: Generation,
    case: Case,
    old: Pass,
    places: tuple[str, str],
) -> Iterator[Finding]:
    """Compare the outputs that the first file holds with those of the candidate under the weights of the second."""
    place, new = places
    target = workshop.setting.candidate.target(architecture)
    options = {"weights": new, "save": f"{new}.outputs", "keep": ["eval"]}
    run = Run("candidate", target, config=case.config, input=case.input, report=("eval",), seed=0, options=options)
    answer = read_answer(workshop.worker.request(run.to_json()), "candidate", run)
    found = _eval_pass(workshop.setting.candidate.check(workshop.worker, answer))
    where = f"{generation.name} {case.name}"
    if isinstance(found, Raised):
        yield Finding("VC504", f"{where}: with the remapped file the candidate raises {printable(str(found))}")
        return
    # no outputs on both sides would be equal, and prove nothing
    if not old.outputs or len(old.outputs) != len(found.outputs):
        counts = f"{spell_count(len(old.outputs), 'output')} of the old class, {len(found.outputs)} of the candidate"
        yield Finding("VC507", f"{where}: {counts}", fix="return what the old class returned")
        return
    pairs = zip(name_outputs(old.outputs, architecture.outputs).items(), found.outputs, strict=True)
    differ = {
        mine.name: name
        for (name, mine), theirs in pairs
        if mine.digest != theirs.digest and name not in generation.unit_length
    }
    far = {amount.output: amount for amount in measure(place, f"{new}.outputs", "eval")} if differ else {}
    for output, name in differ.items():
        amount = replace(far[output], output=name) if output in far else f"{name} in bits alone"
        # the same change shows there without a file in between, and its module is named
        fix = f"mend first what this finds: viscy-compat verify {architecture.name}"
        yield Finding("VC501", f"{where}: after remap the outputs differ: {amount}", fix=fix)
