"""One set of weights held against what a user saved: configuration, precision, alternatives, in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from viscy_compat.agreement import Agreement, Alternative, OutputAgreement, Precision
from viscy_compat.architectures.architecture import Architecture, complete
from viscy_compat.diagnosis import Identity
from viscy_compat.errors import OutputsOfAnother, PlanRefused, UsageError
from viscy_compat.layout import printable, spell_count
from viscy_compat.outputs.alternatives import HIDDEN, judge_alternative, name_alteration, untried
from viscy_compat.outputs.bench import Bench, Build, Comparison, Forward
from viscy_compat.outputs.candidates import Candidates, find_candidates
from viscy_compat.outputs.differences import Discrepancies
from viscy_compat.outputs.precision import LEAST_RATIO, explains, find_precision
from viscy_compat.outputs.user_file import INNER, refuse_unfit
from viscy_compat.stated import spell

SEEDED_ALIKE: Final = 1e-5
"""How near outputs that were drawn are, where both sides drew the same numbers: other numbers are as far as 0.1 and more."""

_HOPELESS: Final = 0.3
"""Beyond this distance no precision is emulated for one of many plans: bfloat16 gives up to 0.02."""

_LONG: Final = 5.0
"""Seconds from which on the price is said beforehand."""

_EMULATIONS: Final = 4
"""float32, TF32 in convolutions, float16, and one of bfloat16 and TF32 everywhere."""


@dataclass
class CandidateRun:
    """A configuration that was run, or why it was not."""

    label: str
    config: Mapping[str, Any]
    forward: Forward
    excluded: str = ""


@dataclass
class Inquiry:
    """What is asked about one set of weights.

    Parameters
    ----------
    bench : Bench
        Where it runs.
    architecture : Architecture
        The class.
    build : Build
        The class for the worker, its configuration as far as it is known, the weights.
    identity : Identity, optional
        What the weights do not tell.
    loses : bool
        Whether the plan leaves a normalisation out that the older class had.
    """

    bench: Bench
    architecture: Architecture
    build: Build
    identity: Identity | None = None
    loses: bool = False
    emulated: list[str] = field(default_factory=list)
    best: str = ""

    # --- the trips -------------------------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Whether the outputs are those of the configuration as it is, in whatever precision."""
        run = self._run_candidate("one plan", self.build.config)
        if run.excluded:
            self._refuse_input(run)
            return False
        compared, _ = self._compared_names(run)
        found = self._compare([run.label], compared).differences
        if found.length() > _HOPELESS:
            return False
        return not found.length() or self._precision(run, compared)[1]

    def judge(self, tell: Callable[[str], None]) -> Agreement:
        """Find out everything; see `viscy_compat.outputs.expectation.Expectation.judge`."""
        candidates = self._candidates()
        runs = self._run_all(candidates, tell)
        survivors = [run for run in runs if not run.excluded]
        if not survivors:
            self._refuse_input(runs[0])
            said = f"the proof failed: {runs[0].excluded}{_not_run(candidates)}"
            return Agreement(self.bench.user.path, Precision(""), refusal=said, code="VC350", passes=self.bench.passes)
        compared, left_out = self._compared_names(survivors[0])
        best = self._nearest(survivors, compared)
        self.best = best.label
        labels = [best.label, *(run.label for run in survivors if run is not best)]
        precision, holds = self._precision(best, compared)
        changes = self._alter(best, compared)
        comparison = self._compare([*labels, *self.emulated, *changes], compared)
        found = comparison.differences
        rows = tuple(judge_alternative(found, label, what, self.emulated) for label, what in changes.items())
        fates = tuple(self._fate(run, best, candidates.names, found, precision) for run in runs)
        outputs, inner = _output_names(best.forward), self.bench.inner_names(best.forward)
        known = {*outputs, *(f"{INNER}{name}" for name in inner)}
        agreement = Agreement(
            file=self.bench.user.path,
            precision=precision,
            distance=found.length(),
            outputs=_agreements(comparison, left_out),
            missing=tuple(name for name in outputs if name not in self.bench.user.tensors),
            extra=tuple(name for name in self.bench.user.tensors if name not in known),
            candidates=fates if candidates.names else (),
            alterations=(*rows, *untried(best.forward.alterations, exact=precision.name == "bytes")),
        )
        agreement = self._with_refusal(agreement, found, best, holds=holds)
        if agreement.refusal:
            agreement = agreement._replace(refusal=agreement.refusal + _not_run(candidates))
        if not agreement.refusal and candidates.names:
            settled, left_open = _settle(runs, fates, candidates)
            agreement = agreement._replace(settled=settled, left_open=left_open)
        return agreement._replace(passes=self.bench.passes, made=self.bench.user.made)

    def refuse_others(self, agreement: Agreement, best: str) -> None:
        """Refuse a new file that does not give, to the last bit, what was judged and is kept under the label `best`."""
        run = self._run_candidate("new file", {**self.build.config, **agreement.settled})
        compared = tuple(row.name for row in agreement.outputs if not row.left_out)
        if run.excluded or self._compare([best, run.label], compared).differences.length(run.label):
            raise PlanRefused("the proof failed: the new file does not give what the plan gives", code="VC350")

    # --- configurations --------------------------------------------------------------------------------------------

    def _candidates(self) -> Candidates:
        config, user = self.build.config, self.bench.user
        if self.identity is None:
            return Candidates((config,), ())
        shapes = {name: spec.shape for name, spec in user.tensors.items() if name in self.architecture.outputs}
        return find_candidates(self.architecture, config, self.identity.undetermined, user.input_shape, shapes)

    def _run_all(self, candidates: Candidates, tell: Callable[[str], None]) -> list[CandidateRun]:
        """Run every configuration, and say after the first one how long it takes, where it takes long."""
        first = self._run_candidate("candidate 0", candidates.configs[0])
        # every pass costs about as much as the first one
        seconds = first.forward.seconds
        passes = len(candidates.configs) - 1 + _EMULATIONS + len(first.forward.alterations) + int(first.forward.draws)
        if passes * seconds > _LONG:
            tell(f"up to {passes} forward passes of {seconds:.1f} s each: about {passes * seconds:.0f} s")
        return [
            first,
            *(self._run_candidate(f"candidate {i}", config) for i, config in enumerate(candidates.configs[1:], 1)),
        ]

    def _run_candidate(self, label: str, config: Mapping[str, Any]) -> CandidateRun:
        forward = self._run(label, config, enumerate_alterations=True)
        if forward.error:
            return CandidateRun(label, config, forward, forward.error)
        tensors, names = self.bench.user.tensors, _output_names(forward)
        # an output that the class gives in another configuration, and not in this one, excludes this one
        wanted = [name for name in tensors if name in self.architecture.outputs or name in names]
        if not wanted:
            raise OutputsOfAnother(
                f"no output of {self.architecture.name} is in it",
                where=self.bench.user.path,
                fix=f"name them {', '.join(names)}",
            )
        refuse_unfit(self.bench.user, wanted)
        for name in wanted:
            shape = forward.shapes.get(name)
            if shape != tensors[name].shape:
                why = f"{printable(name)} is {shape or 'not there'}, and {tensors[name].shape} was expected"
                return CandidateRun(label, config, forward, why)
        return CandidateRun(label, config, forward)

    def _refuse_input(self, run: CandidateRun) -> None:
        """Say in the words of the shape rule why a model that was built did not run on the input, where the rule knows."""
        # what was not built has a configuration that the rule may not understand
        if run.forward.stage != "forward":
            return
        user, config = self.bench.user, complete(self.architecture, run.config)
        why = self.architecture.refusal(config, user.input_shape)
        if why:
            taken = "x".join(map(str, self.architecture.input_shape(config)))
            raise OutputsOfAnother(why, where=user.path, fix=f"save an input that the model takes, such as {taken}")

    def _run(self, label: str, config: Mapping[str, Any], **options: Any) -> Forward:
        config = self.architecture.for_worker(config)
        build = Build(self.build.target, config, self.build.weights, self.architecture.outputs)
        seed = self.bench.user.seed or 0
        return self.bench.run(label, build, **{"seed": seed, "inner": True, **options})

    def _nearest(self, survivors: list[CandidateRun], compared: Sequence[str]) -> CandidateRun:
        labels = [run.label for run in survivors]
        found = self._compare(labels, compared).differences
        distances = [found.length(), *(found.between(label) for label in labels[1:])]
        # of two that are as near, the one is likelier that gives nothing which the user does not have
        spare = [len(set(_output_names(run.forward)) - set(self.bench.user.tensors)) for run in survivors]
        return survivors[min(range(len(survivors)), key=lambda place: (distances[place], spare[place]))]

    # --- outputs ---------------------------------------------------------------------------------------------------

    def _compare(self, labels: Sequence[str], compared: Sequence[str]) -> Comparison:
        return self.bench.compare(compared, labels, unit=self._unit())

    def _unit(self) -> tuple[str, ...]:
        """Return the outputs that the older class brought to length 1, where today's does not."""
        if not self.loses or self.identity is None:
            return ()
        rows = (row for row in self.architecture.generations if row.name == self.identity.generation)
        return tuple(name for row in rows for name in row.unit_length)

    def _compared_names(self, run: CandidateRun) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the outputs to compare, and why others are left out: those that were drawn, unless they came alike."""
        user = self.bench.user
        names = _output_names(run.forward)
        wanted = [name for name in user.tensors if name in names]
        if not run.forward.draws:
            return tuple(wanted), {}
        # a second pass under another seed shows which outputs hang on the drawn numbers, and by how much
        self._run("other seed", run.config, seed=(user.seed or 0) + 1)
        found = self._compare([run.label, "other seed"], wanted).differences
        random = [name for name in wanted if found.length_of(name, "other seed")]
        apart = [name for name in random if found.length_of(name) > SEEDED_ALIKE]
        # torch's CPU generator draws the same from a seed on every machine: a difference is then one of the model
        if user.device.startswith("cpu") and user.seed is not None and user.precision in ("", "float32"):
            apart = []
        kept = tuple(name for name in wanted if name not in apart)
        if not kept:
            raise UsageError(
                f"{', '.join(wanted)} depend on random numbers, and nothing else is in it",
                where=user.path,
                fix=f"save {' or '.join(name for name in names if name not in wanted)} too, or save on the CPU "
                "and state the seed in the metadata",
            )
        said = "depends on random numbers, and it was not made on the CPU with the stated seed"
        return kept, dict.fromkeys(apart, said)

    # --- precisions and alternatives -------------------------------------------------------------------------------

    def _precision(self, best: CandidateRun, compared: Sequence[str]) -> tuple[Precision, bool]:
        self.emulated.clear()
        comparison = self._compare([best.label], compared)
        if all(comparison.equal.values()):
            return Precision("bytes"), True

        def emulate(name: str) -> Discrepancies:
            # what cannot be run in a precision, or not on this processor, is not explained by it: its noise is none
            if self._run(name, best.config, precision=name).error:
                self._run(name, best.config)
            self.emulated.append(name)
            return self._compare([best.label, *self.emulated], compared).differences

        return find_precision(emulate, stated=self.bench.user.precision)

    def _alter(self, best: CandidateRun, compared: Sequence[str]) -> dict[str, str]:
        """Run every alteration, and return what each is by its label."""
        changes = {}
        visible = [change for change in best.forward.alterations if change["kind"] != HIDDEN]
        for place, change in enumerate(visible):
            label = f"alteration {place}"
            forward = self._run(label, best.config, alteration=change)
            if not forward.error and all(
                forward.shapes.get(name) == self.bench.user.tensors[name].shape for name in compared
            ):
                changes[label] = name_alteration(change)
        return changes

    def _fate(
        self, run: CandidateRun, best: CandidateRun, names: Sequence[str], found: Discrepancies, precision: Precision
    ) -> Alternative:
        """Say what became of a configuration."""
        what = " ".join(f"{name}={spell(run.config[name])}" for name in names)
        if run.excluded:
            return Alternative(what, "excluded", why=run.excluded)
        if run is best:
            return Alternative(what, "fits", coefficient=0.0)
        row = judge_alternative(found, run.label, what, self.emulated)
        bound = precision.bound * precision.noise
        if row.answer == "undecided" and found.between(run.label) > bound and found.length() <= bound:
            return row._replace(answer="excluded", why="by distance")
        return row

    # --- refusals --------------------------------------------------------------------------------------------------

    def _with_refusal(
        self, agreement: Agreement, found: Discrepancies, best: CandidateRun, *, holds: bool
    ) -> Agreement:
        rivals = [row for row in agreement.alterations if row.answer == "fits"]
        nearest = max(rivals, key=lambda row: row.coefficient / (row.spread or 1.0), default=None)
        figures = (
            f"{nearest.what}: {nearest.coefficient:.2f} of that way, give or take {nearest.spread:.1g}"
            if nearest
            else ""
        )
        if not holds:
            begins = self._beginning(best)
            said = _say_difference(agreement)
            said += f"; the difference begins in {begins}" if begins else ""
            said += f"; they go the way of {figures}" if figures else ""
            return agreement._replace(refusal=said, code="VC350", begins=begins)
        if nearest:
            return agreement._replace(refusal=f"the outputs fit another model than this one: {figures}", code="VC351")
        return agreement

    def _beginning(self, best: CandidateRun) -> str:
        """Return the first module whose output no precision explains that explains those before it."""
        precisions = list(self.emulated)
        for module in self.bench.inner_names(best.forward):
            key = f"{INNER}{module}"
            found = self.bench.compare([key], [best.label, *precisions]).differences
            left = [name for name in precisions if explains(found, name)]
            if not left:
                return printable(module)
            precisions = left
        return ""


def _output_names(forward: Forward) -> list[str]:
    return [name for name in forward.shapes if not name.startswith(INNER)]


def _agreements(comparison: Comparison, left_out: Mapping[str, str]) -> tuple[OutputAgreement, ...]:
    """Return a row for each output that was compared, and for each that was not, with the reason."""
    rows = [
        OutputAgreement(
            name,
            equal=equal,
            largest=comparison.largest[name],
            scale=comparison.scale[name],
            distance=comparison.differences.length_of(name),
        )
        for name, equal in comparison.equal.items()
    ]
    return (*rows, *(OutputAgreement(name, left_out=why) for name, why in left_out.items()))


def _settle(
    runs: list[CandidateRun], fates: tuple[Alternative, ...], candidates: Candidates
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Return the arguments that are the same in all that is left, and the values of the others."""
    left = [run.config for run, fate in zip(runs, fates, strict=True) if fate.answer != "excluded"]
    settled, left_open = {}, {}
    for name in candidates.names:
        values = {repr(config[name]): config[name] for config in left}
        if len(values) == 1 and not candidates.passed_over:
            settled[name] = next(iter(values.values()))
        else:
            left_open[name] = tuple(values.values())
    return settled, left_open


def _not_run(candidates: Candidates) -> str:
    """Say of a refusal that another configuration could agree; empty where all were run."""
    more = spell_count(candidates.passed_over, "more configuration", "has", "have")
    return f"; {more} these shapes, and none of them was run: state what is known" if candidates.passed_over else ""


def _say_difference(agreement: Agreement) -> str:
    """Say which output differs most, and why the nearest precision does not explain it: by its size or its pattern."""
    worst = max((row for row in agreement.outputs if not row.left_out), key=lambda row: row.distance)
    what = (
        f"{worst.name} differs from what was expected by up to {worst.largest:.3g} (values up to {worst.scale:.3g}; "
        f"relative L2 over all outputs {agreement.distance:.2g})"
    )
    near = agreement.precision
    name = f"{near.name}, as stated," if near.stated else f"no precision explains that: {near.name}"
    if near.ratio > near.bound:
        return f"{what}; {name} explains {near.noise:.2g}, and this is {near.ratio:.3g} of it (bound {near.bound:g})"
    if near.ratio < LEAST_RATIO:
        least = f"outputs made in it are at least {LEAST_RATIO:g} of it away from what the CPU gives"
        return f"{what}; {name} explains {near.noise:.2g}, and this is only {near.ratio:.2g} of it: {least}"
    return f"{what}; {name} explains the size, and its pattern is another one (likeness {near.likeness:.2f})"
