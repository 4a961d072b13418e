"""The laws that `explore` checks: what must hold for any configuration and any input of a class.

A law takes a `Subject` and a `DrawnCase` case and raises `LawBroken` with the numbers. Laws of the kind ``rules`` need no
torch; ``builds`` build both models in their workers; ``probes`` feed perturbed inputs, or write files.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

from viscy_compat.architectures.architecture import Architecture, Case, Config, Generation, complete
from viscy_compat.architectures.inference import infer
from viscy_compat.architectures.outcome import Outcome
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.checkpoint.safetensors_writer import header_of, order_of_bytes
from viscy_compat.comparison.cases import compare
from viscy_compat.comparison.failures import UNDECIDED
from viscy_compat.errors import Unbuildable, WorkerFailed
from viscy_compat.findings import CATALOGUE
from viscy_compat.layout import Layout, differences, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.old_code.cases import old_arguments, rows_for
from viscy_compat.old_code.origin import OldClass
from viscy_compat.workers import arrays
from viscy_compat.workers.answers import Pass, Raised, Run, WorkerAnswer
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.sides import Sides

LawKind = Literal["rules", "builds", "probes"]
LAW_KINDS: tuple[LawKind, ...] = ("rules", "builds", "probes")

DRAWS_A_SAMPLE = frozenset({"z", "recon_x"})
"""Outputs that depend on random numbers, or on all of the latent vector, in eval mode too."""

_NOTICED = 1e-6
"""Of the largest output: what is less is rounding of float32, whose steps are a tenth of it."""

_STEEP = 1e-3
"""Of the steepest place along an axis: what is less may be rounding, or a way past a rectifier, and is measured."""

_MOST_NUMBERS = 1 << 19
"""Numbers of a probe's batch, or a single input and another one: with four million a worker took 7 GB."""

_BLOCK = 1 << 20
"""Bytes that are written or compared at a time: a multiple of what repeats in a file of noise."""


class LawBroken(AssertionError):
    """A law does not hold for a case; the message has the numbers."""


class DrawnCase(NamedTuple):
    """A case: a complete configuration and the shape that is fed."""

    config: Config
    input: tuple[int, ...]


@dataclass
class Subject:
    """One class with the two sides that are compared.

    Parameters
    ----------
    architecture : Architecture
        What is known of the class: shape rule, layout, accepted differences, defects.
    old : OldClass, optional
        The old class; None where only rules are checked.
    both : Sides, optional
        The workers.
    package : Candidate
        The migrated package.
    seed : int
        Set before every construction and forward pass.
    used : set[str]
        Ids of the accepted differences and defects that were met.
    lacking : frozenset[str]
        Arguments that neither the old class nor the candidate takes: ours alone has them, so they are not passed.
    """

    architecture: Architecture
    old: OldClass | None = None
    both: Sides | None = None
    package: Candidate = field(default_factory=Candidate)
    seed: int = 0
    used: set[str] = field(default_factory=set)
    lacking: frozenset[str] = frozenset()
    _last: tuple[DrawnCase, tuple[WorkerAnswer, WorkerAnswer]] | None = None

    def meet(self) -> None:
        """Let both sides describe their constructors, and note which arguments of ours neither of them takes."""
        assert self.old
        assert self.both
        theirs = self.both.describe(self.architecture, self.old)
        taken = {row.name for side in theirs for row in side.signature}
        if not any(row.kind == "VAR_KEYWORD" for row in theirs[1].signature):
            self.lacking = frozenset(row.name for row in self.architecture.arguments) - taken

    def seen(self, drawn: DrawnCase) -> tuple[WorkerAnswer, WorkerAnswer]:
        """Ask both sides all that the building laws want to know, once a case."""
        # laws of one kind meet the same case one after the other
        if self._last is None or self._last[0] != drawn:
            assert self.old
            assert self.both
            new = self._run(drawn, ("layout", "initial", "eval", "train"), {})
            old = replace(
                new,
                source=f"{self.old.title} {self.architecture.name}",
                target=self.old.target,
                config=old_arguments(self.architecture, self.old, drawn.config),
            )
            self._last = drawn, next(self.both.both([(old, new)]))
        return self._last[1]

    def outcome(self, drawn: DrawnCase) -> Outcome:
        """Return what the shape rule says."""
        return self.architecture.outcome(drawn.config, drawn.input)

    def answer(self, drawn: DrawnCase, report: tuple[str, ...], **options: Any) -> WorkerAnswer:
        """Ask the candidate alone about a case."""
        assert self.both
        return self.both.candidate(self._run(drawn, report, options))

    def _run(self, drawn: DrawnCase, report: tuple[str, ...], options: Mapping[str, Any]) -> Run:
        return Run(
            "candidate",
            self.package.target(self.architecture),
            config={name: value for name, value in drawn.config.items() if name not in self.lacking},
            input=drawn.input,
            report=report,
            seed=self.seed,
            options=options,
        )

    def compute(self, drawn: DrawnCase, numbers: array[float]) -> arrays.Arrays:
        """Feed these numbers to the candidate in eval mode and return its outputs."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "input.safetensors"), Path(folder, "output.safetensors")
            arrays.write_arrays(source, {"input": (drawn.input, numbers)})
            answer = self.answer(drawn, ("eval",), inputs=str(source), save=str(target), keep=["eval"])
            outcome = answer.error or answer.passes.get("eval")
            if not isinstance(outcome, Pass):
                raise LawBroken(f"the rule says that it runs, but it raises {outcome}")
            return {name.removeprefix("eval/"): row for name, row in arrays.read_arrays(target).items()}


def old_equals_new(subject: Subject, drawn: DrawnCase) -> None:
    """Both sides succeed with equal bytes, or both refuse with the same kind of error, or a row accepts it."""
    assert subject.old
    if subject.old.generation.to_today:
        # other names mean other filled weights: what such a state does is compared after a remap, by the gate
        return
    ours, theirs = subject.seen(drawn)
    rows = rows_for(subject.architecture, subject.old.generation.name, drawn.config)
    case = Case("drawn", drawn.config, drawn.input)
    judgement = compare(ours, theirs, case, rows, subject.architecture.outputs)
    subject.used.update(judgement.accepted)
    broken = [failure for failure in judgement.failures if CATALOGUE[failure.code].severity == "error"]
    if broken and broken[0].code == UNDECIDED:
        raise WorkerFailed(broken[0].message, where=f"{subject.architecture.name} {dict(drawn.config)}", code=UNDECIDED)
    if broken:
        raise LawBroken(f"{broken[0].code}: {broken[0].message}")


def shape_rule(subject: Subject, drawn: DrawnCase) -> None:
    """The rule predicts whether the candidate builds and runs, and every shape that comes out."""
    answer = subject.seen(drawn)[1]
    rule = subject.outcome(drawn)
    does_build = answer.error is None
    if rule.builds != does_build:
        raise LawBroken(f"the rule says {_verb(rule.builds, 'build')} ({rule.why}), but it {_behaviour(answer.error)}")
    outcome = answer.passes.get("eval")
    if not does_build or outcome is None:
        return
    ran = isinstance(outcome, Pass)
    if rule.runs != ran:
        raise LawBroken(f"the rule says {_verb(rule.runs, 'run')} ({rule.why}), but it {_behaviour(outcome)}")
    if isinstance(outcome, Pass) and tuple(rule.outputs.values()) != tuple(output.shape for output in outcome.outputs):
        shapes = [output.shape for output in outcome.outputs]
        raise LawBroken(f"the rule says {list(rule.outputs.values())}, but the outputs are {shapes}")


def _verb(holds: bool, verb: str) -> str:
    return f"it {verb}s" if holds else f"it does not {verb}"


def _behaviour(outcome: Raised | Pass | None) -> str:
    return f"raises {outcome}" if isinstance(outcome, Raised) else "does"


def reconstruction(subject: Subject, drawn: DrawnCase) -> None:
    """A reconstruction has the height and width of its input, or a recorded defect says why not."""
    outcome = subject.outcome(drawn)
    shape = outcome.outputs.get("recon_x")
    if not outcome.runs or shape is None:
        return
    sides = 2 if "out_stack_depth" in drawn.config else len(shape) - 2
    same = shape[-sides:] == drawn.input[-sides:]
    defects = [row.id for row in subject.architecture.defects if row.applies(drawn.config, drawn.input)]
    subject.used.update(defects)
    if not same and not defects:
        raise LawBroken(f"{drawn.input} comes back as {shape}, and no recorded defect says why")
    if not same and outcome.exact:
        raise LawBroken(f"{drawn.input} comes back as {shape}, and the rule calls that exact")


def inference(subject: Subject, drawn: DrawnCase) -> None:
    """The generated layout leads back to a configuration with that very layout."""
    try:
        layout = subject.architecture.layout(drawn.config)
    except Unbuildable:
        return
    found = infer(subject.architecture, layout)
    if found is None:
        raise LawBroken("inference does not find the class from the layout")
    again = subject.architecture.layout(found.config)
    if list(again.items()) != list(layout.items()):
        raise LawBroken(f"inference finds {found.config}, which has another layout")


def layout_rule(subject: Subject, drawn: DrawnCase) -> None:
    """The generated layout is that of the built candidate, in order."""
    answer = subject.seen(drawn)[1]
    if answer.error:
        return
    try:
        rule: Layout = subject.architecture.layout(drawn.config)
    except Unbuildable as error:
        raise LawBroken(f"the layout rule refuses ({error.message}), but it builds") from error
    found = differences(answer.layout, rule)
    if found:
        raise LawBroken(
            f"{spell_count(len(found.names), 'tensor', 'differs', 'differ')} from the rule, first {found.names[0]}"
        )


def batch_and_mode(subject: Subject, drawn: DrawnCase) -> None:
    """In train mode it fails exactly where the rule says so; batch 1 works in eval wherever another batch does."""
    rule = subject.outcome(drawn)
    answer = subject.seen(drawn)[1]
    does_train = isinstance(answer.passes.get("train"), Pass)
    if not answer.error and rule.runs and rule.trains != does_train:
        raise LawBroken(
            f"the rule says {_verb(rule.trains, 'train')} ({rule.why}), but it {_behaviour(answer.passes['train'])}"
        )
    alone = drawn._replace(input=(1, *drawn.input[1:]))
    if rule.runs != subject.outcome(alone).runs:
        raise LawBroken("the rule treats a batch of 1 otherwise than a larger one in eval mode")
    if rule.runs:
        answer_alone = answer if alone == drawn else subject.answer(alone, ("eval",))
        outcome = answer_alone.error or answer_alone.passes.get("eval")
        if not isinstance(outcome, Pass):
            raise LawBroken(f"with a batch of 1 the rule says that it runs in eval mode, but it {_behaviour(outcome)}")


def members(subject: Subject, drawn: DrawnCase) -> None:
    """In eval mode the output for a stack does not depend on the others in its batch, to the byte."""
    pair = drawn._replace(input=(2, *drawn.input[1:]))
    if not subject.outcome(pair).runs:
        return
    size = prod(pair.input[1:])
    # the first stack is the same in both batches, and the second another one
    first = arrays.noise(size, 1)
    one, other = (subject.compute(pair, first + arrays.noise(size, seed)) for seed in (2, 3))
    for name, (shape, numbers) in one.items():
        count = prod(shape[1:])
        if numbers[:count] != other[name][1][:count]:
            raise LawBroken(f"{name} of the first stack changes with the second one in the batch")


def every_slice(subject: Subject, drawn: DrawnCase) -> None:
    """Exactly the slices, rows and columns that the rule calls unread influence nothing."""
    rule = subject.outcome(drawn)
    if not rule.runs:
        return
    slopes = subject.answer(drawn._replace(input=(1, *drawn.input[1:])), ("slopes",)).slopes
    for axis in range(2, len(drawn.input)):
        unread = {index for loss in rule.losses if loss.axis == axis for index in loss.unread}
        # where a derivative shows an influence there is one: only the others are measured
        doubtful = _without_slope(slopes[axis - 2]) if slopes else [*range(drawn.input[axis])]
        idle, is_rectified = _without_influence(subject, drawn, axis, doubtful)
        # behind a rectifier that gives nothing, what is read shows no influence either
        if unread - idle or (idle - unread and not is_rectified):
            raise LawBroken(
                f"axis {axis}: the rule says that {_some(unread)} are never read, measured are {_some(idle)}"
            )


def _without_slope(slopes: Sequence[float]) -> list[int]:
    """Return the indices whose influence a derivative does not show: the others have one, whatever else is fed."""
    return [index for index, slope in enumerate(slopes) if not slope > _STEEP * max(slopes)]


def _without_influence(subject: Subject, drawn: DrawnCase, axis: int, doubtful: Sequence[int]) -> tuple[set[int], bool]:
    """Feed inputs that differ from the first one of their batch in one index along an axis, and compare the outputs.

    Returns which of the indices influence nothing, and whether the outputs have numbers that stand there twice, as those
    of a rectifier do.
    """
    shape = drawn.input[1:]
    base, other = arrays.noise(prod(shape), 1), arrays.noise(prod(shape), 2)
    room = max(1, _MOST_NUMBERS // prod(shape) - 1)
    idle: set[int] = set()
    is_rectified = False
    for start in range(0, len(doubtful), room):
        indices = doubtful[start : start + room]
        numbers = array("f", base)
        for index in indices:
            numbers.extend(_perturb(base, other, shape, axis - 1, index))
        outputs = subject.compute(drawn._replace(input=(len(indices) + 1, *shape)), numbers)
        chosen = [row for name, row in outputs.items() if name not in DRAWS_A_SAMPLE] or [*outputs.values()]
        idle |= {index for member, index in enumerate(indices, 1) if not any(_differs(*row, member) for row in chosen)}
        # a number that stands twice in the output for the first member: those of a rectifier are zeros
        firsts = [values[: prod(form[1:])] for form, values in chosen]
        is_rectified |= any(len(set(first)) < len(first) for first in firsts)
    return idle, is_rectified


def _perturb(base: array[float], other: array[float], shape: tuple[int, ...], axis: int, index: int) -> array[float]:
    """Return a copy of an input in which everything at one index of an axis is other numbers."""
    inner = prod(shape[axis + 1 :])
    step = inner * shape[axis]
    copy = array("f", base)
    for start in range(index * inner, len(base), step):
        copy[start : start + inner] = array("f", (3.0 + value for value in other[start : start + inner]))
    return copy


def _differs(shape: tuple[int, ...], numbers: array[float], member: int) -> bool:
    """Whether one member of a batch differs from the first by more than rounding."""
    size = prod(shape[1:])
    first, mine = numbers[:size], numbers[member * size : (member + 1) * size]
    largest = max(map(abs, first), default=0.0)
    return max((abs(a - b) for a, b in zip(first, mine, strict=True)), default=0.0) > _NOTICED * largest


def _some(indices: set[int]) -> str:
    return f"{sorted(indices)[:8]}{'...' if len(indices) > 8 else ''}" if indices else "none"


def round_trip(subject: Subject, drawn: DrawnCase) -> None:
    """A file of every generation is remapped in total, and the way back gives every byte of it."""
    from viscy_compat.rewrite.remapping import remap

    for generation in subject.architecture.generations:
        layout = _layout_in(generation, subject.architecture, drawn.config)
        if not layout:
            continue
        with tempfile.TemporaryDirectory() as place:
            old, new, again = (
                Path(place, name) for name in ("old.safetensors", "new.safetensors", "again.safetensors")
            )
            _write_layout(old, layout)
            reports = remap(old, new), remap(new, again, reverse=True) if generation.to_today else remap(new, again)
            if not all(report.exit_code == 0 for report in reports):
                raise LawBroken(
                    f"{generation.name}: {[finding.message for one in reports for finding in one.findings]}"
                )
            if not _hold_the_same(old, again):
                raise LawBroken(f"{generation.name}: the way back gives other tensors")


def _layout_in(generation: Generation, architecture: Architecture, config: Config) -> Layout:
    """Return the layout that a generation gives a configuration, or one of its own cases where it could not have had it.

    Empty where there is none, or where it is known that none leads to today's.
    """
    try:
        layout = generation.layout(config)
    except Unbuildable:
        if not generation.cases:
            return {}
        # any of them, and for one configuration always the same
        case = generation.cases[len(repr(config)) % len(generation.cases)]
        config = complete(architecture, case.config)
        layout = generation.layout(config)
    return {} if generation.is_stranded(config) else layout


def _write_layout(path: Path, layout: Layout) -> None:
    """Write a file of a layout: float32 noise that starts elsewhere for each tensor, integers zero."""
    # the noise repeats itself from block to block, and a block has room for every start
    noise = memoryview(bytes(memoryview(arrays.noise(1 << 16, 7)).cast("B")) * (_BLOCK // (1 << 17) + 1))
    with path.open("wb") as file:
        file.write(header_of(layout, {}, where=str(path)))
        for number, name in enumerate(order_of_bytes(layout)):
            size = layout[name].elements * ITEMSIZES[layout[name].dtype]
            start = 4 * (number % 1000)
            piece = noise[start : start + _BLOCK] if layout[name].dtype == "float32" else bytes(min(size, _BLOCK))
            for place in range(0, size, _BLOCK):
                file.write(piece[: size - place])


def _hold_the_same(first: Path, second: Path) -> bool:
    """Whether two safetensors files have the same tensors to the byte, in whatever order their bytes stand."""
    sides = [open_checkpoint(str(path)).tensors for path in (first, second)]
    if [tensor.spec for tensor in sides[0].values()] != [sides[1][name].spec for name in sides[0] if name in sides[1]]:
        return False
    if len(sides[0]) != len(sides[1]):
        return False
    with first.open("rb") as one, second.open("rb") as other:
        for name, tensor in sides[0].items():
            one.seek(tensor.storage.start)
            other.seek(sides[1][name].storage.start)
            for place in range(0, tensor.storage.size, _BLOCK):
                count = min(_BLOCK, tensor.storage.size - place)
                if one.read(count) != other.read(count):
                    return False
    return True


class Law(NamedTuple):
    """A law with its name, its kind and what it says."""

    id: str
    kind: LawKind
    check: Callable[[Subject, DrawnCase], None]

    @property
    def says(self) -> str:
        """What the law says, in a sentence."""
        return (self.check.__doc__ or "").strip()


LAWS = (
    Law("inference", "rules", inference),
    Law("reconstruction", "rules", reconstruction),
    Law("old-equals-new", "builds", old_equals_new),
    Law("shape-rule", "builds", shape_rule),
    Law("layout", "builds", layout_rule),
    Law("batch-and-mode", "builds", batch_and_mode),
    Law("members", "probes", members),
    Law("every-slice", "probes", every_slice),
    Law("round-trip", "probes", round_trip),
)
"""Every law that `explore` knows."""
