"""The class and configuration that come nearest to a layout which no class accepts: only a file at fault needs this.

What differs is counted by cause: a module that is gone with all its tensors is one, and so is each tensor that has no
place or another shape. Counted by tensors, a lost block of twenty would weigh more than a configuration made to fit.
"""

from __future__ import annotations

from itertools import groupby

from viscy_compat.annotations import Any, Iterable, Iterator
from viscy_compat.architectures import CLASSES, ClassRow, find
from viscy_compat.architectures.architecture import (
    Architecture,
    Argument,
    Choice,
    Domain,
    Generation,
    Integers,
    Repeated,
    TupleOf,
    complete,
)
from viscy_compat.architectures.domains import is_a_value
from viscy_compat.architectures.inference import shares_a_mark
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Differences, Layout, TensorSpec, differences, spell_count
from viscy_compat.named import NamedTuple

_MOST_ROUNDS = 3
_MOST_NAMES = 64
_MOST_SIZES = 16
"""Bounds on the search: settled arguments unsettle others twice at the most, and a longer list is not read to its end."""

_MOST_CAUSES_OF_A_GUESS = 3
"""A lost module, and two tensors that were lost or changed with it; names that only look alike leave a dozen causes."""


class Nearest(NamedTuple):
    """The known class and configuration that a layout comes nearest to.

    ``differences`` compares the file with the layout of that configuration; ``causes`` counts lost modules and odd
    tensors. ``custom`` says which argument was a module of the user's own, where the differences show one.
    """

    architecture: Architecture
    generation: Generation
    config: dict[str, Any]
    differences: Differences
    shared: int
    causes: int
    custom: str = ""

    def __str__(self) -> str:
        count = distance(self.differences)
        return f"{self.architecture.name} ({self.generation.name}) but for {spell_count(count, 'key')}"


def nearest(layout: Layout, name: str = "") -> Nearest | None:
    """Find the known class and configuration whose layout differs least from one that no class accepts.

    Parameters
    ----------
    layout : Layout
        Names without wrapper prefixes.
    name : str, optional
        The class, where it was stated; otherwise each that shares a telling name is tried.

    Returns
    -------
    Nearest or None
        None where no class has at least half of its names in the layout. A class with more of its telling names there
        comes before one that happens to have more tensors in common.
    """
    rows = [row for row in CLASSES if row.name == name or (not name and shares_a_mark(row, layout))]

    def lacking(row: ClassRow) -> int:
        return min(sum(known not in layout for known in names) for names in row.marks)

    for _, alike in groupby(sorted(rows, key=lacking), lacking):
        found = [near for row in alike for near in _near(find(row.name), layout)]
        if found:
            best = min(found, key=_likeness)
            # a class that has all of another, and more, may lack one of its telling names
            others = [row for row in rows if row.telling and shares_a_mark(row, best.differences.unexpected)]
            found += [near for row in others for near in _near(find(row.name), layout)]
            return min(found, key=_likeness)
    return None


def distance(found: Differences) -> int:
    """Count the tensors that are missing, unexpected or of another shape."""
    return len(found.missing) + len(found.unexpected) + len(found.reshaped)


def _likeness(near: Nearest) -> tuple[int, int]:
    return near.causes, distance(near.differences)


def _near(architecture: Architecture, layout: Layout) -> Iterator[Nearest]:
    """Yield the best attempt for each generation."""
    modules = modules_of(layout)
    searches = [
        _Search(architecture, row, layout=layout, modules=modules) for row in reversed(architecture.generations)
    ]
    for search in searches:
        search.read_anchors()
    for search in searches:
        # what one generation explains by a single cause is no riddle for the others
        if not any(other.is_near for other in searches):
            search.go_on()
    for search in searches:
        generation, best = search.generation, search.best
        if best is None:
            continue
        found = differences(layout, best.expected)
        shared = len(best.expected) - len(found.missing) - len(found.reshaped)
        # with fewer than half of its names there, likeness is chance
        if 2 * len(found.missing) <= len(best.expected):
            yield Nearest(
                architecture,
                generation,
                config=best.config,
                differences=found,
                shared=shared,
                causes=best.causes,
                custom=_custom(architecture, found, best.expected),
            )


def modules_of(names: Iterable[str]) -> set[str]:
    """Return the modules that some tensors stand in, at every depth, each with its dot.

    Examples
    --------
    >>> sorted(modules_of(["a.0.weight", "a.0.bias", "token"]))
    ['a.', 'a.0.']
    """
    found: set[str] = set()
    for name in names:
        end = name.rfind(".")
        while end >= 0 and name[: end + 1] not in found:
            found.add(name[: end + 1])
            end = name.rfind(".", 0, end)
    return found


def lost_part(name: str, modules: set[str]) -> str:
    """Return the outermost module of a missing tensor that is gone as a whole, or the tensor itself.

    Examples
    --------
    >>> lost_part("a.1.conv.weight", {"a.", "a.0."}), lost_part("a.0.bias", {"a.", "a.0."})
    ('a.1.', 'a.0.bias')
    """
    end = name.find(".")
    while end >= 0:
        if name[: end + 1] not in modules:
            return name[: end + 1]
        end = name.find(".", end + 1)
    return name


class _Attempt(NamedTuple):
    """A configuration, its layout, and for how many causes the file is otherwise."""

    config: dict[str, Any]
    expected: Layout
    causes: int


class _Search:
    """Looks for the configuration of one generation that leaves the fewest causes why a file is otherwise."""

    def __init__(
        self, architecture: Architecture, generation: Generation, *, layout: Layout, modules: set[str]
    ) -> None:
        self.architecture, self.generation, self.layout, self.modules = architecture, generation, layout, modules
        self.best: _Attempt | None = None
        # most tensors show nothing that another one does not: the same configuration comes out again and again
        self.tried: set[str] = set()

    @property
    def is_near(self) -> bool:
        """Whether a single cause is left: one tensor or module apart is no configuration."""
        return self.best is not None and self.best.causes < 2

    def consider(self, config: dict[str, Any]) -> bool:
        """Keep a configuration if the file is nearer to it than to the best one before."""
        question = repr(config)
        if question in self.tried:
            return False
        self.tried.add(question)
        try:
            expected = self.generation.layout(config)
        except Unbuildable:
            return False
        attempt = _Attempt(config, expected, self.causes(expected))
        # of two that are as near the first stays: a change must help
        if self.best is not None and attempt.causes >= self.best.causes:
            return False
        self.best = attempt
        return True

    def causes(self, expected: Layout) -> int:
        """Count lost modules, and tensors of another shape or without a place."""
        layout = self.layout
        absent = [name for name in expected if name not in layout]
        held = len(expected) - len(absent)
        same = sum(name in layout and layout[name].shape == spec.shape for name, spec in expected.items())
        return len({lost_part(name, self.modules) for name in absent}) + held - same + len(layout) - held

    def go_on(self) -> None:
        """Try what no tensor shows as it stands, if the file may be of this class at all: that costs a layout each time."""
        start = self.best
        if start is None or len(self.layout) < 2 * len(start.expected) + 64:
            self.put_back()
            self.change_arguments()
        # where no anchor stood, all rests on a tensor that was made up: it counts if next to nothing else is open
        if start is None and self.best is not None and self.best.causes > _MOST_CAUSES_OF_A_GUESS:
            self.best = None

    def read_anchors(self) -> None:
        """Try what the tensors show, then what they show without one that may be the odd one."""
        reading = _NotingLayout(self.layout)
        for candidate in self.architecture.candidates(reading):
            self.consider(complete(self.architecture, candidate))
        for dropped in [] if self.is_near else reading.present[:_MOST_NAMES]:
            rest = {name: spec for name, spec in self.layout.items() if name != dropped}
            for candidate in self.architecture.candidates(rest):
                self.consider(complete(self.architecture, candidate))
            if self.is_near:
                return

    def change_arguments(self) -> None:
        """Change one argument after the other as long as the file comes nearer."""
        for _ in range(_MOST_ROUNDS):
            nearer = False
            for argument in self.architecture.arguments:
                if self.best is None or self.is_near:
                    return
                for value in _proposals(argument, self.best, self.layout):
                    nearer |= self.consider({**self.best.config, argument.name: value})
            if not nearer:
                return

    def put_back(self) -> None:
        """Put back one tensor after the other that the class asks for and the file lacks, as long as the file comes nearer.

        A layer that was lost takes with it what only it shows: how many blocks there are, how wide a stage is.
        """
        filled = _NotingLayout(self.layout)
        for _ in range(_MOST_ROUNDS):
            for _config in self.architecture.candidates(filled):
                pass
            guess = None if self.is_near else self.best_guess(filled)
            if guess is None:
                return
            filled = _NotingLayout({**filled, guess[0]: guess[1]})
            self.change_arguments()

    def best_guess(self, filled: _NotingLayout) -> tuple[str, TensorSpec] | None:
        """Return the tensor that brought the file nearest of those that were asked for in vain; None where none did."""
        guess = None
        for name in filled.absent[:_MOST_NAMES]:
            for spec in self.shapes_for(name):
                for candidate in self.architecture.candidates({**filled, name: spec}):
                    if self.consider(complete(self.architecture, candidate)):
                        guess = name, spec
        return guess

    def shapes_for(self, name: str) -> Iterator[TensorSpec]:
        """Yield shapes that a tensor may have had: those of its namesakes, as long as its neighbours or as what does not fit."""
        layer = name.rpartition(".")[0]
        own_end = name[layer.rfind(".") + 1 :]
        # what is left nearest to it: a block may be gone with all that was beside the tensor
        around = layer
        while around and f"{around}." not in self.modules:
            around = around.rpartition(".")[0]
        like = next((spec.shape for other, spec in self.layout.items() if spec.shape and other.endswith(own_end)), (1,))
        near = [spec for other, spec in self.layout.items() if other.startswith(f"{around}.")]
        expected = self.best.expected if self.best else {}
        unfit = [spec for other, spec in self.layout.items() if expected.get(other) != spec]
        sizes = dict.fromkeys(size for spec in (TensorSpec(like), *near, *unfit) for size in spec.shape[:2])
        yield from (TensorSpec((size, *like[1:])) for size in list(sizes)[:_MOST_SIZES])


class _NotingLayout(dict[str, TensorSpec]):
    """A layout that notes which of its tensors are asked for."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._touched: dict[str, None] = {}

    @property
    def present(self) -> list[str]:
        """The names that were asked for and are there, in that order."""
        return [name for name in self._touched if name in self.keys()]

    @property
    def absent(self) -> list[str]:
        """The names that were asked for and are not there, in that order."""
        return [name for name in self._touched if name not in self.keys()]

    def __contains__(self, name: object) -> bool:
        self._touched[str(name)] = None
        return super().__contains__(name)

    def __getitem__(self, name: str) -> TensorSpec:
        self._touched[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a tensor, and note that it was asked for."""
        self._touched[name] = None
        return super().get(name, default)


def _proposals(argument: Argument, best: _Attempt, layout: Layout) -> list[Any]:
    """Return values worth trying: all of a small domain, else the sizes of tensors that do not fit; in tuples one by one."""
    domain, now = argument.values(best.config), best.config[argument.name]
    if argument.effect != "predictions":
        return []
    # an argument that is wrong shows as a size of tensors that do not fit
    unfit = (spec for name, spec in layout.items() if best.expected.get(name) != spec)
    sizes = list(dict.fromkeys(size for spec in unfit for size in spec.shape))[:_MOST_SIZES]
    if not isinstance(domain, TupleOf | Repeated):
        return _values(domain, now, sizes)
    if not isinstance(now, tuple):
        return []
    items = domain.domains if isinstance(domain, TupleOf) else (domain.domain,) * len(now)
    # values of another length are those of a damaged file
    places = range(min(len(items), len(now)))
    return [(*now[:at], value, *now[at + 1 :]) for at in places for value in _values(items[at], now[at], sizes)]


def _values(domain: Domain, now: Any, sizes: list[int]) -> list[Any]:
    """Return the other values of a small domain, else those of some sizes that it takes."""
    if isinstance(domain, Choice):
        return [value for value in domain.values if value != now]
    if not isinstance(domain, Integers):
        return []
    if domain.high - domain.low < _MOST_SIZES:
        return list(range(domain.low, domain.high + 1))
    return [size for size in sizes if is_a_value(domain, size)]


def _custom(architecture: Architecture, found: Differences, expected: Layout) -> str:
    """Say which argument was a module of the user's own: one with other tensors, or with none."""
    names, missing = (*found.unexpected, *(mismatch.name for mismatch in found.reshaped)), {*found.missing}
    for part, sentence in architecture.custom:
        absent = {name for name in expected if part in name} or {""}
        # a layer that lacks with all that it has was never there; a single tensor may have been lost
        layers: dict[str, list[str]] = {}
        for name in expected:
            if name.startswith(part):
                layers.setdefault(name.rpartition(".")[0], []).append(name)
        lacks_a_layer = any(missing.issuperset(layer) for layer in layers.values())
        if any(part in name for name in names) or absent <= missing or lacks_a_layer:
            return sentence
    return ""
