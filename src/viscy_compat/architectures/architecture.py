"""What everything known about one class is made of: the base of its architecture, and the records that it holds.

The engines (`check`, `remap`, `verify`, `record`, `explore`, `gate`) read an `Architecture`; nobody else lists the
configurations of a class. Nothing here imports torch, and nothing here is heavy: `check` imports it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import MappingProxyType

from viscy_compat.annotations import TYPE_CHECKING, Any, Callable, Collection, Hashable, Iterable, Literal, Mapping
from viscy_compat.architectures.outcome import Loss, Outcome, refuses_to_build, refuses_to_run
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Operation, Rename, targets_of

if TYPE_CHECKING:
    from viscy_compat.architectures.bags import Bag
    from viscy_compat.architectures.vocabulary import Entries

Config = Mapping[str, Any]
"""Constructor arguments by name: JSON values, with tuples where JSON has lists."""


NOTHING: Config = MappingProxyType({})
"""No arguments."""

OLD_PACKAGES = {
    "viscy/__init__.py": "31573ed3c72e242128c263bfb29ed1e0a9c75729",
    "viscy/unet/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
}
"""Files that every import of an old class runs through, with their git blob ids: the same in all releases."""


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


class TupleOf(NamedTuple):
    """A tuple with one domain for each place."""

    domains: tuple[Domain, ...]


class Repeated(NamedTuple):
    """A tuple of `low` to `high` items of one domain."""

    domain: Domain
    low: int
    high: int


Domain = Choice | Integers | Floats | TupleOf | Repeated

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
    applies : Callable[[Config], bool]
        To which complete configurations the row applies.
    reason : str
        Why the difference is wanted.
    example : Case
        A case on which the row is used; a row that is never used fails the tests.
    side : {"old-refuses", "new-refuses"}
        Which of the two raises where the other one does not, or raises elsewhere.
    error : str
        The error type that this side raises.
    stage : {"build", "forward"}
        When it is raised.
    generations : tuple[str, ...]
        The generations whose old class it is about; empty for all.
    """

    id: str
    applies: Callable[[Config], bool]
    reason: str
    example: Case
    side: Literal["old-refuses", "new-refuses"] = "new-refuses"
    error: str = "ValueError"
    stage: Literal["build", "forward"] = "build"
    generations: tuple[str, ...] = ()


class Defect(NamedTuple):
    """A defect of the old code that is kept, because mending it would move outputs under old weights."""

    id: str
    applies: Callable[[Config, tuple[int, ...]], bool]
    what: str


class Axis(NamedTuple):
    """One side of a map: a caption, and for each tick the arguments that it changes.

    ``places`` are the items of a tuple argument that take the tick; empty where the argument is a number. ``with_it``
    are arguments that take the tick at the same places.
    """

    name: str
    ticks: tuple[int, ...]
    argument: str
    places: tuple[int, ...] = ()
    with_it: tuple[str, ...] = ()

    def put(self, config: Config, tick: int) -> dict[str, Any]:
        """Return a configuration with the tick put in."""
        return {**config, **{name: self._value(config[name], tick) for name in (self.argument, *self.with_it)}}

    def _value(self, now: Any, tick: int) -> Any:
        if not self.places:
            return tick
        return tuple(tick if place in self.places else old for place, old in enumerate(now))


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
    constants : Config
        Arguments of the migrated class that this state always had at one value (v0.2.0: ``stem_stride``).
    old_config : Callable[[Config], dict[str, Any]] or None
        Arguments of the old constructor for a configuration of the migrated class; None where they are the same
        but for those that it does not have.
    """

    wheel: str
    revision: str
    sources: Mapping[str, str]
    signature: Signature
    constants: Config = NOTHING
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
        """Whether this state could have had a configuration (its constants are as they were, or not given)."""
        return all(config.get(name, value) == value for name, value in self.constants.items())


def _never(config: Config) -> bool:
    return False


def as_settled(name: str) -> Callable[[Config, Config], Iterable[Config]]:
    """Return the values of an argument that an ambiguity before its own settles along with another one: one is left.

    Examples
    --------
    >>> as_settled("depth")({"depth": 5, "width": 8}, {})
    ({'depth': 5},)
    """
    return lambda config, stated: ({name: config[name]},)


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
    unit_length : tuple[str, ...]
        Outputs that this state returns at length 1 (L2, over the last axis) and today's class does not.
    is_stranded : Callable[[Config], bool]
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
    unit_length: tuple[str, ...] = ()
    is_stranded: Callable[[Config], bool] = _never

    @property
    def is_frozen(self) -> bool:
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


def last_release(
    arguments: Iterable[Argument],
    sources: Mapping[str, str],
    *,
    lacking: Collection[str] = (),
    keywords: bool = False,
    old_config: Callable[[Config], dict[str, Any]] | None = None,
) -> Release:
    """Return the last state before the classes moved: that of fe7a5da^, whose files the wheel 0.4.0 holds unchanged.

    Parameters
    ----------
    arguments : Iterable[Argument]
        The arguments of the migrated class, which are those of the old one.
    sources : Mapping[str, str]
        The files of the class with their git blob ids, besides those of the packages around them.
    lacking : Collection[str], optional
        Arguments that only the migrated class has.
    keywords, old_config
        See `Signature` and `Release`.
    """
    rows = ((row.name, row.default) for row in arguments if row.name not in lacking and not row.keyword)
    signature = Signature(tuple(rows), keywords)
    return Release("0.4.0", "fe7a5da^", {**OLD_PACKAGES, **sources}, signature, old_config=old_config)


def freeze(name: str, architecture: Architecture) -> Generation:
    """Return today's state as a generation: recorded from the migrated package, with no old source to run."""
    module, _, qualname = architecture.target.rpartition(".")
    # where a list is the default, the constructor says None and makes it
    rows = (
        (row.name, None if row.name in architecture.lists else row.default)
        for row in architecture.arguments
        if not row.keyword
    )
    return Generation(
        name=name,
        module=module,
        qualname=qualname,
        written_by=f"{module.partition('.')[0]} from {name} on",
        releases=(Release("", "", {}, Signature(tuple(rows)), old_config=architecture.for_worker),),
        layout=architecture.layout,
    )


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
    return tuple(Rename(name, name_after(name, moved)) for name in layout)


def name_after(name: str, moved: Mapping[str, str]) -> str:
    """Return what a tensor is called once the names in ``moved`` are the other ones; itself where it lies below none.

    Examples
    --------
    >>> name_after("a.w", {"a": "b"}), name_after("ab.w", {"a": "b"})
    ('b.w', 'ab.w')
    """
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


class Publication(NamedTuple):
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


class Architecture(ABC):
    """Everything that is known about one class: a subclass in a file of its own.

    Attributes
    ----------
    name : str
        The class name, the same in old and new code (``"ContrastiveEncoder"``).
    target : str
        Import path of the migrated class.
    arguments : tuple[Argument, ...]
        Constructor arguments in order, with defaults and domains.
    outputs : tuple[str, ...]
        Names of the tensors that `forward` returns, in order.
    cases : tuple[Case, ...]
        Verification cases, at least twelve.
    accepted_differences : tuple[AcceptedDifference, ...]
        Wanted differences between old and new.
    defects : tuple[Defect, ...]
        Defects of the old code that are kept.
    publications : tuple[Publication, ...]
        Published checkpoints of this class.
    keywords : bool
        Whether the constructor also takes ``**kwargs``; the known ones are among the arguments.
    ambiguities : tuple[Ambiguity, ...]
        Arguments that weights show only in combination; every other argument is tried by the engine, one at a time.
    anchors : tuple[str, ...]
        Names of the tensors that tell the class and its configuration: the evidence of a report.
    custom : tuple[tuple[str, str], ...]
        Parts of tensor names that a module of the user's own brings, each with the sentence that says so.
    caveats : tuple[str, ...]
        What outputs depend on that neither weights nor arguments tell.
    map_axes : tuple[Axis, ...]
        The two sides of the map that ``explore --plot`` draws; none where the class has no sizes.
    map_start : Config
        Values of required arguments on that map.
    install : str
        The command that installs the package which has the class; empty where ours does.
    lists : tuple[str, ...]
        Arguments that the constructor takes as lists only: it adds to them, or compares them with one.
    """

    name: str
    target: str
    arguments: tuple[Argument, ...]
    outputs: tuple[str, ...]
    cases: tuple[Case, ...]
    accepted_differences: tuple[AcceptedDifference, ...] = ()
    defects: tuple[Defect, ...] = ()
    publications: tuple[Publication, ...] = ()
    keywords: bool = False
    ambiguities: tuple[Ambiguity, ...] = ()
    anchors: tuple[str, ...] = ()
    custom: tuple[tuple[str, str], ...] = ()
    caveats: tuple[str, ...] = ()
    map_axes: tuple[Axis, ...] = ()
    map_start: Config = NOTHING
    install: str = ""
    lists: tuple[str, ...] = ()

    @property
    @abstractmethod
    def generations(self) -> tuple[Generation, ...]:
        """Oldest first; the last one has today's layout. A ``cached_property`` in the classes."""

    @abstractmethod
    def footprint(self, config: Config) -> Hashable:
        """Return what the layout shows of a complete configuration.

        Two configurations have the same layout exactly if they have the same footprint. It is cheap, so that
        alternatives can be tried by the hundred; raises `Unbuildable` for what the constructor refuses.
        """

    @abstractmethod
    def tensors(self, footprint: Any) -> Entries:
        """Yield the tensors of the migrated class for a footprint, in the order of ``state_dict()``."""

    @abstractmethod
    def candidates(self, layout: Layout) -> Iterable[Config]:
        """Return configurations that a layout could have come from, best first, read off a few anchor tensors.

        They are guesses: the engine accepts one only if its generated layout equals the given one.
        """

    @abstractmethod
    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return the input that a configuration was made for, with batch size 2."""

    def arguments_of_input(self, shape: tuple[int, ...]) -> Config:
        """Return the arguments that state the size of the input, as an input of a shape has them."""
        return {}

    @abstractmethod
    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why ``forward`` does not take an input of a shape; empty where it does."""

    @abstractmethod
    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each output for an input that is not refused."""

    @property
    def reachable_generations(self) -> tuple[Generation, ...]:
        """The generations of which code or a record exists: of a frozen state before the last one neither does."""
        last = self.generations[-1]
        return tuple(row for row in self.generations if row is last or not row.is_frozen)

    def layout(self, config: Config) -> Layout:
        """Return the ordered layout of the migrated class for a complete configuration; raises `Unbuildable`."""
        return dict(self.tensors(self.footprint(config)))

    def outcome(self, config: Config, shape: tuple[int, ...]) -> Outcome:
        """Say what the class does with an input of a shape: the shape rule."""
        try:
            self.footprint(config)
        except Unbuildable as error:
            return refuses_to_build(error.message)
        why = self.refusal(config, shape)
        if why:
            return refuses_to_run(why)
        outputs = self.output_shapes(config, shape)
        losses, why = tuple(self.losses(config, shape, outputs)), self.untrainable(config, shape)
        return Outcome(builds=True, runs=True, outputs=outputs, losses=losses, why=why, trains=not why)

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Return what of an input does not come out."""
        return ()

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why a forward pass that runs in eval mode raises in train mode; empty where it does not."""
        return ""

    def companions(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of what ``forward`` takes besides an input of a shape."""
        return {}

    def with_lists(self, config: Config, make: Callable[[Any], Any]) -> dict[str, Any]:
        """Return a configuration for the constructor: what it takes as a list only, made one."""
        return {name: make(value) if name in self.lists else value for name, value in config.items()}

    def for_worker(self, config: Config) -> dict[str, Any]:
        """Return a configuration for a worker, which makes tuples of JSON's lists but of those that are marked."""
        return self.with_lists(config, lambda value: {"list": list(value)})

    def idle(self, config: Config) -> tuple[str, ...]:
        """Return the arguments that a configuration does not read, so that their value changes nothing."""
        return ()

    def notes(self, config: Config) -> tuple[str, ...]:
        """Return sentences that a report adds to the evidence."""
        return ()

    def spelling(self, stated: Config, config: Config) -> Config:
        """Return stated arguments, beside a configuration that fits, in the one spelling that candidates use.

        The constructor may take several for the same thing (``kernel_size=3`` and ``(3, 3)``).
        """
        return stated

    def sketches(self, bag: Bag) -> Iterable[Config]:
        """Return configurations that the shapes of a file could have come from, whatever its tensors are called.

        They are guesses, as `candidates` are: the engine accepts one only if its layout has exactly these shapes.
        """
        return ()

    def older(self, arguments: Config, generation: str) -> Config:
        """Return arguments as an older constructor called them, in those of the migrated class.

        The generation is given where they are the file's own; what that generation took and did not use becomes
        `viscy_compat.checkpoint.pickle_nodes.Unread`.
        """
        return arguments


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
