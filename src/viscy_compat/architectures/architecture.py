"""The record that holds everything known about one class, as data and small pure functions.

The engines (`check`, `remap`, `verify`, `record`, `explore`, `gate`) read this record; nobody else lists the
configurations of a class. Nothing here imports torch, and nothing here is heavy: `check` imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from viscy_compat.architectures.outcome import Outcome
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Operation, Rename, targets_of

if TYPE_CHECKING:
    from viscy_compat.architectures.bags import Bag

Config = Mapping[str, Any]
"""Constructor arguments by name: JSON values, with tuples where JSON has lists."""


NOTHING: Config = MappingProxyType({})
"""No arguments."""


class Choice(NamedTuple):
    """One of a few values."""

    values: tuple[Any, ...]


class Integers(NamedTuple):
    """An integer between two bounds, both included."""

    low: int
    high: int


class Floats(NamedTuple):
    """A float between two bounds, both included."""

    low: float
    high: float


class Items(NamedTuple):
    """A tuple with one domain for each place."""

    domains: tuple[Domain, ...]


class Repeated(NamedTuple):
    """A tuple of `low` to `high` items of one domain."""

    domain: Domain
    low: int
    high: int


Domain = Choice | Integers | Floats | Items | Repeated

Effect = Literal["predictions", "training", "initial weights", "nothing"]
"""What an argument changes besides the layout: outputs in eval mode, training, what a strict load overwrites."""


class _Required:
    """The default of an argument that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Argument(NamedTuple):
    """One constructor argument of the migrated class.

    ``domain`` is a function of the arguments before it where it depends on them (as many strides as channels).
    ``keyword`` marks an argument that the constructor takes through ``**kwargs`` only. ``about`` says what its values
    do to predictions, for arguments that weights may not tell.
    """

    name: str
    default: Any
    domain: Domain | Callable[[Config], Domain]
    effect: Effect = "predictions"
    keyword: bool = False
    about: str = ""

    def values(self, config: Config) -> Domain:
        """Return the domain, given the arguments that come before this one."""
        return self.domain(config) if callable(self.domain) else self.domain


class Case(NamedTuple):
    """One configuration and one input on which old and new are compared.

    ``config`` holds the arguments that are given; ``input`` is the shape that is fed, batch first.
    """

    name: str
    config: Config
    input: tuple[int, ...]


class AcceptedDifference(NamedTuple):
    """A wanted difference between the old class and the migrated one: the only kind that is not a failure.

    Parameters
    ----------
    id : str
        Stable name, printed where the row is used.
    side : {"old-refuses", "new-refuses"}
        Which of the two raises where the other one does not, or raises elsewhere.
    error : str
        The error type that this side raises (``"ValueError"``).
    stage : {"build", "forward"}
        When it is raised.
    applies : Callable[[Config], bool]
        To which complete configurations the row applies.
    reason : str
        Why the difference is wanted.
    example : Case
        A case on which the row is used; a row that is never used fails the tests.
    generations : tuple[str, ...]
        The generations whose old class it is about; empty for all.
    """

    id: str
    side: Literal["old-refuses", "new-refuses"]
    error: str
    stage: Literal["build", "forward"]
    applies: Callable[[Config], bool]
    reason: str
    example: Case
    generations: tuple[str, ...] = ()


class Defect(NamedTuple):
    """A defect of the old code that is kept, because mending it would move outputs under old weights."""

    id: str
    applies: Callable[[Config, tuple[int, ...]], bool]
    what: str


class Signature(NamedTuple):
    """The constructor of one generation: argument names in order, with defaults (`REQUIRED` where there is none)."""

    arguments: tuple[tuple[str, Any], ...]
    keywords: bool = False


class Release(NamedTuple):
    """One released state of a generation: where its source is, and what its constructor takes.

    Parameters
    ----------
    wheel : str
        The newest release that holds these files (``"0.4.0"``).
    revision : str
        A git revision that holds them too.
    sources : Mapping[str, str]
        Paths of the files that must be at hand to import the class, with their git blob ids.
    signature : Signature
        The constructor of that state.
    fixed : Config
        Arguments of the migrated class that this state always had at one value (v0.2.0: ``stem_stride``).
    old_config : Callable[[Config], dict[str, Any]] or None
        Arguments of the old constructor for a configuration of the migrated class; None where they are the same
        but for those that it does not have.
    """

    wheel: str
    revision: str
    sources: Mapping[str, str]
    signature: Signature
    fixed: Config = NOTHING
    old_config: Callable[[Config], dict[str, Any]] | None = None

    def arguments(self, config: Config) -> dict[str, Any]:
        """Return the arguments for the old constructor that correspond to a configuration of the migrated class."""
        if self.old_config is not None:
            return self.old_config(config)
        names = {name for name, _ in self.signature.arguments}
        return {name: value for name, value in config.items() if name in names or self._passes(name)}

    def _passes(self, name: str) -> bool:
        return self.signature.keywords and name != "pretrained"

    def fits(self, config: Config) -> bool:
        """Whether this state could have had a configuration (what it fixes is as fixed, or not given)."""
        return all(config.get(name, value) == value for name, value in self.fixed.items())


def _never(config: Config) -> bool:
    return False


class Generation(NamedTuple):
    """One state of the old class's layout: the releases that had it, and the way to today's layout.

    Parameters
    ----------
    name : str
        Stable name (``"v0.3"``).
    module, qualname : str
        Where the old code defined the class.
    written_by : str
        The releases that load a file of this generation as it is.
    releases : tuple[Release, ...]
        States of the source with this layout that behave differently, oldest first; nearly always one.
    layout : Callable[[Config], Layout]
        The layout for a complete configuration *of the migrated class*; raises `Unbuildable`.
    to_today : Callable[[Layout], tuple[Operation, ...]] or None
        Rows from this layout to today's; None where the layout is today's.
    loses : tuple[str, ...]
        What the rows to today's layout lose, a sentence each.
    cases : tuple[Case, ...]
        Verification cases, in arguments of the migrated class; empty where the class's own apply.
    normalised : tuple[str, ...]
        Outputs that this state returns at length 1 (L2, over the last axis) and today's class does not.
    lost : Callable[[Config], bool]
        For which complete configurations there is no way to today's layout, because this state lacked what has no
        neutral value; by default there always is one.
    """

    name: str
    module: str
    qualname: str
    written_by: str
    releases: tuple[Release, ...]
    layout: Callable[[Config], Layout]
    to_today: Callable[[Layout], tuple[Operation, ...]] | None = None
    loses: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()
    normalised: tuple[str, ...] = ()
    lost: Callable[[Config], bool] = _never

    @property
    def frozen(self) -> bool:
        """Whether there is no source to run: what is known of this state is what `record` kept of a candidate."""
        return not any(release.wheel or release.revision for release in self.releases)

    def unmade(self, layout: Layout, today: Layout) -> tuple[str, ...]:
        """Return the names of today's layout that the rows of this generation make of nothing in a layout of it."""
        if self.to_today is None:
            return ()
        made = {name for row in self.to_today(layout) for name in targets_of(row)}
        return tuple(name for name in today if name not in made)

    def release(self, config: Config) -> Release:
        """Return the newest release that could have had a configuration, else the newest of all."""
        fitting = [release for release in self.releases if release.fits(config)]
        return (fitting or self.releases)[-1]


def frozen(name: str, target: str, arguments: Iterable[Argument], layout: Callable[[Config], Layout]) -> Generation:
    """Return a generation that is a state of the migrated package itself: recorded from it, with no old source to run.

    Parameters
    ----------
    name : str
        Its name, from now on.
    target : str
        The import path of the class.
    arguments : Iterable[Argument]
        The arguments of its constructor, in order.
    layout : Callable[[Config], Layout]
        Its layout.
    """
    module, _, qualname = target.rpartition(".")
    signature = Signature(tuple((row.name, row.default) for row in arguments if not row.keyword))
    release = Release(wheel="", revision="", sources={}, signature=signature)
    return Generation(name, module, qualname, f"{module.partition('.')[0]} from {name} on", (release,), layout)


def renames(layout: Layout, moved: Mapping[str, str]) -> tuple[Operation, ...]:
    """Return a row for every tensor: those below a name in ``moved`` go below the other one, the rest stay.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> for row in renames({"a.w": TensorSpec((1,)), "ab.w": TensorSpec((1,))}, {"a": "b"}):
    ...     print(row.source, row.target)
    a.w b.w
    ab.w ab.w
    """
    return tuple(Rename(name, _moved(name, moved)) for name in layout)


def _moved(name: str, moved: Mapping[str, str]) -> str:
    for old, new in moved.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name


class Ambiguity(NamedTuple):
    """Arguments that weights show only in combination, or only within bounds.

    Parameters
    ----------
    name : str
        The argument under which it is reported.
    effect : Effect
        What another value changes.
    why : str
        Why the weights cannot tell.
    values : Callable[[Config, Config], Iterable[Config]]
        Joint values of the arguments concerned, the most plausible first, for a configuration that fits and for
        stated arguments, which are taken as they are. The engine keeps those that leave the footprint as it is.
    complete : bool
        Whether the values are all that the domains allow (False: the most plausible ones).
    certain : Callable[[Config], bool]
        For values that are not all: whether a configuration leaves no other one. Else a single value that fits is not
        known to be the only one, and the argument stays open until it is stated.
    """

    name: str
    effect: Effect
    why: str
    values: Callable[[Config, Config], Iterable[Config]]
    complete: bool = True
    certain: Callable[[Config], bool] = _never


class Published(NamedTuple):
    """A checkpoint that VisCy published, and the configuration that it was trained with.

    Parameters
    ----------
    nickname, file : str
        What it is called, and its file name.
    generation : str
        The generation of the class that wrote it.
    config : Config
        Arguments of the class, those that are not at their defaults.
    source : str
        Where the configuration is said, in upstream's main at 4b62365c (2026-06) unless another place is named.
    url : str, optional
        Where upstream publishes the file.
    """

    nickname: str
    file: str
    generation: str
    config: Config
    source: str = ""
    url: str = ""


def published_at(path: str) -> str:
    """Return the address of a file in the folder where upstream publishes checkpoints."""
    return f"https://public.czbiohub.org/comp.micro/viscy/{path}"


def _none(config: Config) -> tuple[str, ...]:
    return ()


def _no_sketches(bag: Bag) -> Iterable[Config]:
    return ()


def _as_stated(stated: Config, config: Config) -> Config:
    return stated


def _as_found(arguments: Config, generation: str) -> Config:
    return arguments


class Architecture(NamedTuple):
    """Everything that is known about one class.

    Parameters
    ----------
    name : str
        The class name, the same in old and new code (``"ContrastiveEncoder"``).
    target : str
        Import path of the migrated class.
    arguments : tuple[Argument, ...]
        Constructor arguments in order, with defaults and domains.
    layout : Callable[[Config], Layout]
        The ordered layout of the migrated class for a complete configuration; raises `Unbuildable`.
    footprint : Callable[[Config], Hashable]
        What the layout shows of a complete configuration: two configurations have the same layout exactly if they
        have the same footprint. Cheap, so that alternatives can be tried by the hundred; raises `Unbuildable`.
    candidates : Callable[[Layout], Iterable[Config]]
        Configurations that a layout could have come from, best first, read off a few anchor tensors. They are
        guesses: the engine accepts one only if its generated layout equals the given one.
    outcome : Callable[[Config, tuple[int, ...]], Outcome]
        The shape rule: what the class does with an input of a given shape.
    input_shape : Callable[[Config], tuple[int, ...]]
        The input that a configuration was made for, with batch size 2.
    outputs : tuple[str, ...]
        Names of the tensors that `forward` returns, in order.
    generations : tuple[Generation, ...]
        Oldest first; the last one has today's layout.
    cases : tuple[Case, ...]
        Verification cases, at least twelve.
    accepted : tuple[AcceptedDifference, ...]
        Wanted differences between old and new.
    defects : tuple[Defect, ...]
        Defects of the old code that are kept.
    published : tuple[Published, ...]
        Published checkpoints of this class.
    keywords : bool
        Whether the constructor also takes ``**kwargs``; the known ones are among the arguments.
    ambiguities : tuple[Ambiguity, ...]
        Arguments that weights show only in combination; every other argument is tried by the engine, one at a time.
    idle : Callable[[Config], tuple[str, ...]]
        Arguments that a configuration does not read, so that their value changes nothing.
    anchors : tuple[str, ...]
        Names of the tensors that tell the class and its configuration: the evidence of a report.
    custom : tuple[tuple[str, str], ...]
        Parts of tensor names that a module of the user's own brings, each with the sentence that says so.
    notes : Callable[[Config], tuple[str, ...]]
        Sentences that a report adds to the evidence.
    spelling : Callable[[Config, Config], Config]
        Stated arguments, beside a configuration that fits, in the one spelling that candidates use, where the
        constructor takes several for the same thing (``kernel_size=3`` and ``(3, 3)``).
    sketches : Callable[[Bag], Iterable[Config]]
        Configurations that the shapes of a file could have come from, whatever its tensors are called: guesses, as
        `candidates` are. The engine accepts one only if its layout has exactly these shapes.
    older : Callable[[Config, str], Config]
        Arguments as an older constructor called them, in those of the migrated class. The generation is given where
        they are the file's own; what that generation took and did not use becomes `Unread`.
    """

    name: str
    target: str
    arguments: tuple[Argument, ...]
    layout: Callable[[Config], Layout]
    footprint: Callable[[Config], Hashable]
    candidates: Callable[[Layout], Iterable[Config]]
    outcome: Callable[[Config, tuple[int, ...]], Outcome]
    input_shape: Callable[[Config], tuple[int, ...]]
    outputs: tuple[str, ...]
    generations: tuple[Generation, ...]
    cases: tuple[Case, ...]
    accepted: tuple[AcceptedDifference, ...] = ()
    defects: tuple[Defect, ...] = ()
    published: tuple[Published, ...] = ()
    keywords: bool = False
    ambiguities: tuple[Ambiguity, ...] = ()
    idle: Callable[[Config], tuple[str, ...]] = _none
    anchors: tuple[str, ...] = ()
    custom: tuple[tuple[str, str], ...] = ()
    notes: Callable[[Config], tuple[str, ...]] = _none
    spelling: Callable[[Config, Config], Config] = _as_stated
    sketches: Callable[[Bag], Iterable[Config]] = _no_sketches
    older: Callable[[Config, str], Config] = _as_found


def complete(architecture: Architecture, config: Config) -> dict[str, Any]:
    """Return a configuration with every argument, defaults filled in, in the order of the constructor.

    Arguments that only ``**kwargs`` would take come last.
    """
    known = {
        argument.name: config.get(argument.name, argument.default)
        for argument in architecture.arguments
        if argument.name in config or argument.default is not REQUIRED
    }
    return {**known, **{name: value for name, value in config.items() if name not in known}}
