"""From a layout back to the class, the generation and the configuration, and to what the weights leave open.

A configuration is accepted only if its generated layout has every name and shape of the given one. What the weights do
not tell is computed: another value of an argument that leaves the footprint as it is, is another answer.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Callable, Collection, Final, Hashable, TypeVar, cast
from viscy_compat.architectures import CLASSES, ClassRow, find
from viscy_compat.architectures.architecture import (
    NOTHING,
    Ambiguity,
    Architecture,
    Argument,
    Config,
    Effect,
    Generation,
    complete,
)
from viscy_compat.architectures.domains import is_a_value, is_whole, some_values
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, Mismatch, differences, is_batch_counter, spell_count
from viscy_compat.named import NamedTuple

AnswerT = TypeVar("AnswerT")


class Undetermined(NamedTuple):
    """An argument that the weights do not tell.

    ``candidates`` are joint values: what else changes with the argument stands beside it. The first one is assumed.
    ``complete`` is False where more values than these are possible.
    """

    name: str
    assumed: Any
    candidates: tuple[Config, ...]
    effect: Effect
    why: str
    complete: bool = True

    @property
    def changes_predictions(self) -> bool:
        """Whether another value changes what the model returns in eval mode."""
        return self.effect == "predictions"

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the JSON of the contract has it."""
        return {
            "assumed": self.assumed,
            "candidates": [dict(candidate) for candidate in self.candidates],
            "changes_predictions": self.changes_predictions,
            "complete": self.complete,
            "why": self.why,
        }


class Contradiction(NamedTuple):
    """Stated arguments that no configuration with this layout has.

    ``shown`` are the values that the weights show for the same arguments; ``mismatches`` are tensors of the file beside
    what the stated values would need.
    """

    stated: Config
    shown: Config
    why: str
    mismatches: tuple[Mismatch, ...] = ()


class Inference(NamedTuple):
    """A configuration whose layout is that of the file, and what is known about its certainty.

    Parameters
    ----------
    architecture, generation
        The class, and the generation whose layout the file has.
    config : dict[str, Any]
        Every argument of the migrated class; where weights leave a choice, the most plausible value.
    undetermined : tuple[Undetermined, ...]
        The choices that are left.
    contradictions : tuple[Contradiction, ...]
        What was stated and cannot be.
    unknown : tuple[str, ...]
        Stated names that are no arguments of the class.
    evidence : tuple[str, ...]
        What the answer rests on, a line each.
    retyped : tuple[Mismatch, ...]
        Tensors of another dtype than the class has; shapes are right.
    reordered : bool
        Whether the names stand in another order than in ``state_dict()``.
    uncounted : tuple[str, ...]
        Batch counters that the file lacks; nothing else may be missing.
    """

    architecture: Architecture
    generation: Generation
    config: dict[str, Any]
    undetermined: tuple[Undetermined, ...]
    contradictions: tuple[Contradiction, ...]
    unknown: tuple[str, ...]
    evidence: tuple[str, ...]
    retyped: tuple[Mismatch, ...]
    reordered: bool
    uncounted: tuple[str, ...] = ()

    @property
    def written(self) -> Layout:
        """The layout of the generation in this configuration, with the counters that the file may lack."""
        return self.generation.layout(self.config)


class RecentAnswers:
    """The last answers of a function that depends on nothing but its question: thousands of files have few layouts.

    Answers are shared between files: nobody changes one.

    Examples
    --------
    >>> answers = RecentAnswers(most=2)
    >>> [answers.answer(text, lambda: text.upper()) for text in ("a", "b", "a", "c")]
    ['A', 'B', 'A', 'C']
    >>> answers.answer("b", lambda: "found again"), answers.answer("c", lambda: "found again")
    ('found again', 'C')
    """

    __slots__ = ("_answers", "_most", "_newest")

    def __init__(self, *, most: int) -> None:
        self._answers: dict[Hashable, tuple[Any]] = {}
        self._newest: tuple[Any] | None = None
        self._most = most

    def answer(self, question: Hashable, find: Callable[[], AnswerT]) -> AnswerT:
        """Return what was answered before, or find it out; what was asked longest ago is forgotten."""
        answers = self._answers
        # a question is a layout of hundreds of names, and each look for it goes through all of them: one is enough where
        # the last question is asked again
        row = answers.get(question)
        if row is not None and row is self._newest:
            return cast("AnswerT", row[0])
        if row is None:
            row = (find(),)
        else:
            del answers[question]
        answers[question] = self._newest = row
        if len(answers) > self._most:
            del answers[next(iter(answers))]
        return cast("AnswerT", row[0])


_recent_inferences: Final = RecentAnswers(most=64)


def identify(layout: Layout, stated: Config = NOTHING) -> Inference | None:
    """Find the class whose layout this is; only classes that share a telling name are imported.

    Returns
    -------
    Inference or None
        None where no known class has such a layout.
    """
    whole = [row for row in CLASSES if any(all(name in layout for name in names) for names in row.marks)]
    # a telling name may have got another one since: it saves an import, and never decides
    partly = [row for row in CLASSES if row not in whole and shares_a_mark(row, layout)]
    # each row costs the import of its class: those that are surely meant come first
    for row in (*whole, *partly):
        inference = infer(find(row.name), layout, stated)
        if inference is not None:
            return inference
    return None


def infer(architecture: Architecture, layout: Layout, stated: Config = NOTHING) -> Inference | None:
    """Find the generation and configuration of a class that have exactly the names and shapes of a layout.

    Parameters
    ----------
    architecture : Architecture
        The class.
    layout : Layout
        Names without wrapper prefixes. Order and dtypes are compared apart.
    stated : Config, optional
        Arguments known from elsewhere; they confirm, narrow down or contradict what the weights show.
    """
    if len(layout) > MOST_REMEMBERED:
        return _infer(architecture, layout, stated)
    # the class and not its name, which a made-up one may share; 1 and True are equal, and not the same statement: texts
    # tell them apart
    question = (architecture, (*layout.items(),), repr(stated))
    return _recent_inferences.answer(question, lambda: _infer(architecture, layout, stated))


MOST_REMEMBERED: Final = 2_000
"""Tensors of a layout whose answer is kept: the largest known class has 700, and a worker has 60 MB for all it does."""


def _infer(architecture: Architecture, layout: Layout, stated: Config) -> Inference | None:
    found = _exact_match(architecture, layout)
    if found is None:
        return None
    generation, config, expected = found
    choices = _Choices(architecture, generation, config=config, stated=stated, layout=layout)
    choices.settle()
    held = [name for name in expected if name in layout]
    same_order = all(mine == theirs for mine, theirs in zip(layout, held, strict=True))
    return Inference(
        architecture,
        generation,
        config=choices.config,
        undetermined=tuple(choices.undetermined),
        contradictions=tuple(choices.contradictions),
        unknown=tuple(name for name in stated if name not in choices.config),
        evidence=evidence(architecture, layout, choices.config),
        retyped=() if layout == expected else differences(layout, expected).retyped,
        reordered=not same_order,
        uncounted=tuple(name for name in expected if name not in layout),
    )


def evidence(architecture: Architecture, layout: Layout, config: Config) -> tuple[str, ...]:
    """Return the tensors that tell the class and its configuration, and what they leave open."""
    lines = (f"{name} {layout[name].shape}" for name in architecture.anchors if name in layout)
    return (*lines, *architecture.notes(config))


def _exact_match(architecture: Architecture, layout: Layout) -> tuple[Generation, dict[str, Any], Layout] | None:
    for candidate in architecture.candidates(layout):
        config = complete(architecture, candidate)
        # newest first: two states may have one layout, and today's needs no remap
        for generation in reversed(architecture.generations):
            try:
                expected = generation.layout(config)
            except Unbuildable:
                continue
            # the length first: it is cheap, and batch counters may lack but nothing may be over
            if len(expected) >= len(layout) and (expected == layout or _same_shapes(expected, layout)):
                return generation, config, expected
    return None


def _same_shapes(expected: Layout, layout: Layout) -> bool:
    """Whether a layout has every name with its shape, but for batch counters, and no other name."""
    lacking = 0
    for name, spec in expected.items():
        found = layout.get(name)
        if found is None and not is_batch_counter(name, spec):
            return False
        if found is not None and found.shape != spec.shape:
            return False
        lacking += found is None
    return len(expected) == len(layout) + lacking


class _Choices:
    """Settles the arguments of an accepted configuration one after the other."""

    def __init__(
        self, architecture: Architecture, generation: Generation, config: dict[str, Any], stated: Config, layout: Layout
    ) -> None:
        self.architecture, self.generation, self.config, self.layout = architecture, generation, config, layout
        self.footprint = architecture.footprint(config)
        self.arguments = {argument.name: argument for argument in architecture.arguments}
        self.undetermined: list[Undetermined] = []
        self.contradictions: list[Contradiction] = []
        spelled = architecture.spelling(stated, config)
        self.stated: dict[str, Any] = {}
        for name, value in spelled.items():
            argument = self.arguments.get(name)
            if argument is not None and is_a_value(argument.values(config), value):
                self.stated[name] = value
            elif argument is not None:
                why = f"{value!r} is no value that {name} takes"
                self.contradictions.append(Contradiction({name: value}, {name: config[name]}, why))

    def settle(self) -> None:
        """Take what was stated, then ask each argument whether the weights leave it open."""
        joint = {ambiguity.name for ambiguity in self.architecture.ambiguities}
        # stated values first: what else is open is asked with them in place
        for name in [name for name in self.stated if name not in joint]:
            self._take(name)
        for ambiguity in self.architecture.ambiguities:
            self._choose(ambiguity)
        idle = self.architecture.idle(self.config)
        for argument in self.architecture.arguments:
            if argument.name not in joint and argument.name not in self.stated:
                self._scan(argument, argument.name in idle)
        places = {name: place for place, name in enumerate(self.arguments)}
        # in the order of the signature, whatever was asked first
        self.undetermined.sort(key=lambda entry: places[entry.name])

    def fits(self, change: Config) -> bool:
        """Whether the configuration has the same layout after a change."""
        try:
            return self.architecture.footprint({**self.config, **change}) == self.footprint
        except Unbuildable:
            return False

    def _take(self, name: str) -> None:
        change = {name: self.stated[name]}
        if self.fits(change):
            self.config.update(change)
        else:
            self._contradict(change)

    def _contradict(self, change: Config) -> None:
        shown = {name: self.config[name] for name in change}
        try:
            needed = self.generation.layout({**self.config, **change})
        except Unbuildable as error:
            self.contradictions.append(Contradiction(change, shown, error.message))
            return
        found = differences(self.layout, needed)
        why = (
            spell_count(len(found.reshaped), "tensor", "would have another shape", "would have other shapes")
            if found.reshaped
            else "other tensors would be there"
        )
        self.contradictions.append(Contradiction(change, shown, why, found.reshaped))

    def _choose(self, ambiguity: Ambiguity) -> None:
        options = self._options(ambiguity, self.stated)
        if not options:
            # no option agrees with all that is stated of them: say so, and go on as if none of it had
            # been stated
            self._contradict({name: self.stated[name] for name in self._concerned(ambiguity)})
            for name in self._concerned(ambiguity):
                del self.stated[name]
            options = self._options(ambiguity, self.stated)
        self.config.update(options[0])
        already = any(entry.name == ambiguity.name for entry in self.undetermined)
        # the one value that was found is the only one where all there are were tried: each release had it at one value
        fixed = all(ambiguity.name in release.constants for release in self.generation.releases)
        is_whole = ambiguity.complete or ambiguity.effect != "predictions" or fixed
        only = len(options) < 2 and (is_whole or ambiguity.certain(self.config))
        if ambiguity.name in self.stated or already or only:
            return
        assumed = self.config[ambiguity.name]
        entry = Undetermined(
            ambiguity.name,
            assumed,
            candidates=tuple(options),
            effect=ambiguity.effect,
            why=ambiguity.why,
            complete=ambiguity.complete,
        )
        self.undetermined.append(entry)

    def _options(self, ambiguity: Ambiguity, stated: Config) -> list[Config]:
        """Return the joint values that fit, over all releases of the generation that could be meant."""
        found: list[Config] = []
        releases = [release for release in self.generation.releases if release.fits(stated)]
        # the release whose defaults the file has is likeliest; equal ones stay in the order in which they are listed
        releases.sort(
            key=lambda release: (
                -sum(
                    name in self.config and self.config[name] == default
                    for name, default in release.signature.arguments
                )
            )
        )
        for fixed in (release.constants for release in releases):
            for option in ambiguity.values(self.config, {**stated, **fixed}):
                agrees = all(
                    known.get(name, value) == value for known in (fixed, stated) for name, value in option.items()
                )
                if agrees and option not in found and self.fits(option):
                    found.append(option)
        return found

    def _concerned(self, ambiguity: Ambiguity) -> list[str]:
        """Return the stated arguments that an ambiguity is about."""
        names = {name for option in self._options(ambiguity, NOTHING) for name in option}
        return [name for name in self.stated if name in names]

    def _scan(self, argument: Argument, idle: bool) -> None:
        """List the other values of one argument that leave the footprint as it is."""
        # loading overwrites them, so that no other value is worth a line
        if argument.effect == "initial weights":
            return
        name, now = argument.name, self.config[argument.name]
        domain = argument.values(self.config)
        values = some_values(domain, now)
        others = [value for value in values if value != now and self.fits({name: value})]
        if not others:
            return
        effect: Effect = "nothing" if idle else argument.effect
        why = "this configuration does not read it" if idle else _WHY[effect]
        options = tuple({name: value} for value in (now, *others))
        self.undetermined.append(
            Undetermined(name, now, candidates=options, effect=effect, why=why, complete=is_whole(domain))
        )


_WHY: dict[Effect, str] = {
    "predictions": "it adds no tensor, so that the weights are the same with every value",
    "training": "it adds no tensor and acts in train mode only",
    "nothing": "it changes nothing here",
    "initial weights": "loading overwrites what it sets",
}


def shares_a_mark(row: ClassRow, names: Collection[str]) -> bool:
    """Whether one of the telling names of a class is among some names; a class without any may always be meant."""
    return not row.telling or any(name in names for marks in row.marks for name in marks)
