"""The proof of a remap: the old class with the old weights against the migrated class with the new file. Each class runs
in a worker; no torch here. Outputs that the user has are the business of `viscy_compat.outputs`.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isnan, sqrt
from sys import byteorder
from tempfile import TemporaryDirectory
from typing import Any

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Architecture, Generation
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.facts import StoredTensor
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import PlanRefused, UsageError, WorkerFailed
from viscy_compat.layout import printable, spell_count
from viscy_compat.old_code.origin import OldClass, Wanted, resolve
from viscy_compat.plans.plan import PlanEnd, identity_rows, plan_of
from viscy_compat.rewrite.choosing import FilePlan
from viscy_compat.rewrite.remapping import NewFile
from viscy_compat.rewrite.write import Job, OutputSet, write
from viscy_compat.stated import spell
from viscy_compat.workers.answers import Pass, Raised, Run, WorkerAnswer, name_outputs, read_answer
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Worker

NORMALISED = 1e-6
"""Largest difference of projections that are normalised here and were normalised there (measured: 0.0)."""

MOST = 4
"""How many configurations are proven where weights leave several."""


@dataclass(frozen=True)
class OldClassProver:
    """Proves a new file against the old class, rebuilt from history.

    Parameters
    ----------
    repo : str, optional
        A VisCy clone; the released wheel otherwise.
    legacy_python : str, optional
        The interpreter of the old class.
    candidate : Candidate
        The package that holds the migrated classes.
    """

    repo: str | None = None
    legacy_python: str | None = None
    candidate: Candidate = field(default_factory=Candidate)

    def __call__(self, chosen: FilePlan, finished: NewFile) -> Mapping[str, Any]:
        """Compare outputs in eval mode on a seeded input, for every configuration that the weights leave open.

        Raises
        ------
        PlanRefused
            Where an output is not what the plan declares.
        UsageError
            Where no class from history belongs to the file.
        SourceUnavailable, MissingExtra, WorkerFailed
            Where the old code or a package cannot be had.
        """
        architecture, generation = _class_and_generation(chosen)
        proven: dict[str, Any] = {}
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="viscy-compat-"))
            old = stack.enter_context(Worker("old", python=self.legacy_python))
            new = stack.enter_context(Worker("candidate"))
            self.candidate.prepare(new)
            # under the old class's own names; what it does not register (a loss, a metric) it would not load
            keys = {name: chosen.keys[name] for name in chosen.plan.source.layout if name in chosen.order}
            here = _as_they_are(chosen.checkpoint, keys, os.path.join(folder, "old.safetensors"))
            there = target_weights(finished, folder)
            for config in configurations(chosen):
                found = self._old_class(architecture, generation, config)
                old.source(found.title, root=found.target.partition(".")[0], files=found.source.files, pretrained=False)
                runs = (
                    _run(found.title, found.target, found.release.arguments(config), architecture, config, here),
                    _run("candidate", self.candidate.target(architecture), config, architecture, config, there),
                )
                answers = [_ask(worker, run) for worker, run in zip((old, new), runs, strict=True)]
                verdicts = _verdicts(answers, runs, architecture, generation, chosen)
                state = "the recorded files" if found.proven else "files of no recorded state"
                proven[_label(chosen, config)] = {**verdicts, "old class": f"{found.title}, {state}"}
        return {"proof": "old and new outputs compared in eval mode, seed 0", **proven}

    def _old_class(self, architecture: Architecture, generation: Generation, config: Mapping[str, Any]) -> OldClass:
        # what changes no prediction does not tell releases apart
        harmless = {argument.name for argument in architecture.arguments if argument.effect != "predictions"}
        alike = {name: value for name, value in config.items() if name not in harmless}
        release = generation.release(alike)
        wanted = Wanted(repo=self.repo, rev=release.revision) if self.repo else Wanted(wheel=release.wheel)
        return resolve([architecture], wanted)[architecture.name]


def configurations(chosen: FilePlan) -> list[dict[str, Any]]:
    """Return the configurations to prove: the one that is known, or a few of those that the weights leave open."""
    identity = chosen.result.identity if chosen.result else None
    base = dict(identity.config) if identity else dict(chosen.plan.target.config)
    rows = [row for row in identity.undetermined.values() if row.changes_predictions] if identity else []
    found = [base]
    for row in rows:
        spellings = {repr(base.get(row.name))}
        for candidate in row.candidates:
            if repr(candidate.get(row.name)) not in spellings:
                spellings.add(repr(candidate.get(row.name)))
                found.append({**base, **candidate})
    return found[:MOST]


def _label(chosen: FilePlan, config: Mapping[str, Any]) -> str:
    """Name what is open in a configuration."""
    identity = chosen.result.identity if chosen.result else None
    rows = identity.undetermined.values() if identity else ()
    names = dict.fromkeys(name for row in rows if row.changes_predictions for name in (row.name, *row.candidates[0]))
    return " ".join(f"{name}={spell(config[name])}" for name in names) or "configuration as it is known"


def _class_and_generation(chosen: FilePlan) -> tuple[Architecture, Generation]:
    identity = chosen.result.identity if chosen.result else None
    # where renames were inferred, no old class had these names
    if identity is None or chosen.grounds:
        raise UsageError(
            "no class from history belongs to this file",
            where=chosen.checkpoint.path,
            fix="prove it with outputs that you have: --expect IO.safetensors",
        )
    architecture = find(identity.class_name)
    return architecture, next(row for row in architecture.generations if row.name == identity.generation)


def _run(
    source: str,
    target: str,
    arguments: Mapping[str, Any],
    architecture: Architecture,
    config: Mapping[str, Any],
    weights: str,
) -> Run:
    options = {"weights": weights, "save": f"{weights}.outputs", "keep": ["eval"]}
    return Run(
        source,
        target,
        config=dict(arguments),
        input=architecture.input_shape(config),
        report=("eval",),
        seed=0,
        options=options,
    )


def _ask(worker: Worker, run: Run) -> WorkerAnswer:
    return read_answer(worker.request(run.to_json()), worker.side, run)


def _verdicts(
    answers: list[WorkerAnswer],
    runs: tuple[Run, Run],
    architecture: Architecture,
    generation: Generation,
    chosen: FilePlan,
) -> dict[str, str]:
    """Say of each output how old and new agree."""
    passes: list[Pass] = []
    for answer in answers:
        ran = answer.error or answer.passes.get("eval")
        # a class that does not run under a configuration was not trained under it: more must be known
        if not isinstance(ran, Pass):
            reason = ran if isinstance(ran, Raised) else "no answer"
            raise PlanRefused(f"the proof failed: {reason}", fix="state the configuration: --set NAME=VALUE")
        passes.append(ran)
    old, new = passes
    if not old.outputs or len(old.outputs) != len(new.outputs):
        raise PlanRefused(
            f"the proof failed: {spell_count(len(old.outputs), 'output')} of the old class, {len(new.outputs)} of the new one"
        )
    before, after = (open_checkpoint(str(run.options["save"])) for run in runs)
    verdicts = {}
    # by place, not by name: today's class may return another type, and its fields other names
    for (name, mine), theirs in zip(name_outputs(old.outputs, architecture.outputs).items(), new.outputs, strict=True):
        if mine.digest == theirs.digest and mine.shape == theirs.shape:
            verdicts[name] = "equal, byte for byte"
        elif name in generation.unit_length and chosen.plan.loses:
            verdicts[name] = _compare_normalised(name, before, after, f"eval/{mine.name}", f"eval/{theirs.name}")
        else:
            raise PlanRefused(f"the proof failed: {name} differs between the old class and the new one")
    return verdicts


def _compare_normalised(name: str, old: Checkpoint, new: Checkpoint, old_key: str, new_key: str) -> str:
    if (
        _saved_tensor(old, old_key).spec != _saved_tensor(new, new_key).spec
        or not _saved_tensor(old, old_key).spec.shape
    ):
        raise PlanRefused(f"the proof failed: {name} has another shape in the new class")
    width = _saved_tensor(old, old_key).spec.shape[-1]
    mine, theirs = _values(old, old_key), _values(new, new_key)
    rows = (theirs[start : start + width] for start in range(0, len(theirs), width))
    # a vector of zeros stays one, as torch.nn.functional.normalize leaves it
    lengths = [sqrt(sum(value * value for value in row)) or 1.0 for row in rows]
    differences = [abs(mine[k] - theirs[k] / lengths[k // width]) for k in range(len(mine))]
    # a NaN is no agreement, and the largest of several does not show one
    worst = next((size for size in differences if isnan(size)), max(differences, default=0.0))
    if not worst <= NORMALISED:
        raise PlanRefused(f"the proof failed: {name}, normalised, differs by {worst:.3g}")
    return f"equal once brought to length 1 (largest difference {worst:.2g})"


def _saved_tensor(checkpoint: Checkpoint, key: str) -> StoredTensor:
    """Return a float32 tensor that a worker was to save."""
    found = checkpoint.tensors.get(key)
    if found is None or found.spec.dtype != "float32":
        raise WorkerFailed(f"did not save {printable(key)}", where="a worker", code="VC603")
    return found


def _values(checkpoint: Checkpoint, key: str) -> array[float]:
    """Return the elements of a float32 tensor."""
    values, tensor = array("f"), _saved_tensor(checkpoint, key)
    with TensorReader(checkpoint) as reader:
        for piece in reader.chunks(tensor):
            values.frombytes(piece)
    if byteorder == "big":
        values.byteswap()
    return values


def target_weights(finished: NewFile, folder: str) -> str:
    """Write the new file's weights under bare names, for the candidate's worker."""
    found = open_checkpoint(finished.path, state_dict=finished.site)
    keys = {key.removeprefix(finished.prefix): key for key in found.tensors}
    return _as_they_are(found, keys, os.path.join(folder, "new.safetensors"))


def _as_they_are(checkpoint: Checkpoint, keys: Mapping[str, str], out: str) -> str:
    """Write the tensors of some keys under other names, without an operation between: what a worker loads."""
    side = PlanEnd({name: checkpoint.tensors[key].spec for name, key in keys.items()})
    plan = plan_of(side, side, identity_rows(side.layout))
    weights = OutputSet(checkpoint, keys=keys, plan=plan)
    write(Job(weights, out=out, format="safetensors", if_exists="overwrite"), lambda path: None)
    return out
