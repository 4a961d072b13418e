"""The record that holds everything known about one class, as data and small pure functions.

The engines (`check`, `remap`, `verify`, `record`, `explore`, `gate`) read this record; nobody else lists the
configurations of a class. Nothing here imports torch, and nothing here is heavy: `check` imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from viscy_compat.architectures.outcome import Outcome
from viscy_compat.layout import Layout
from viscy_compat.operations import Operation

Config = Mapping[str, Any]
"""Constructor arguments by name: JSON values, with tuples where JSON has lists."""


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


class _Required:
    """The default of an argument that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Argument(NamedTuple):
    """One constructor argument of the migrated class.

    ``effect`` says what the argument changes besides the layout: the outputs of a forward pass in eval mode
    (``"predictions"``), training only (``"training"``), or nothing (``"nothing"``).
    """

    name: str
    default: Any
    domain: Domain
    effect: Literal["predictions", "training", "nothing"] = "predictions"


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
    """

    id: str
    side: Literal["old-refuses", "new-refuses"]
    error: str
    stage: Literal["build", "forward"]
    applies: Callable[[Config], bool]
    reason: str
    example: Case


class Defect(NamedTuple):
    """A defect of the old code that is kept, because mending it would move outputs under old weights."""

    id: str
    applies: Callable[[Config, tuple[int, ...]], bool]
    what: str


class Signature(NamedTuple):
    """The constructor of one generation: argument names in order, with defaults (`REQUIRED` where there is none)."""

    arguments: tuple[tuple[str, Any], ...]
    keywords: bool = False


class Generation(NamedTuple):
    """One state of the old class: where its source is, who wrote checkpoints with it, and the way to today's layout.

    Parameters
    ----------
    name : str
        Stable name (``"v0.3"``).
    module, qualname : str
        Where the old code defined the class.
    wheel : str
        The newest release that holds this state (``"0.4.0"``).
    revision : str
        A git revision of the same state.
    sources : Mapping[str, str]
        Paths of the files that must be at hand to import it, with their git blob ids.
    written_by : str
        The releases that load a file of this generation as it is.
    signature : Signature
        The constructor of that state.
    layout : Callable[[Config], Layout]
        The layout for a complete configuration *of the migrated class*; raises `Unbuildable`.
    to_today : Callable[[Layout], tuple[Operation, ...]] or None
        Rows from this layout to today's; None where the layout is today's.
    old_config : Callable[[Config], dict[str, Any]] or None
        Arguments of the old constructor for a configuration of the migrated class; None where they are the same.
    loses : tuple[str, ...]
        What the rows to today's layout lose, a sentence each.
    cases : tuple[Case, ...]
        Verification cases, in arguments of the migrated class; empty where the class's own apply.
    """

    name: str
    module: str
    qualname: str
    wheel: str
    revision: str
    sources: Mapping[str, str]
    written_by: str
    signature: Signature
    layout: Callable[[Config], Layout]
    to_today: Callable[[Layout], tuple[Operation, ...]] | None = None
    old_config: Callable[[Config], dict[str, Any]] | None = None
    loses: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()


class Published(NamedTuple):
    """A checkpoint that VisCy published: its nickname, file name, and the configuration it was trained with."""

    nickname: str
    file: str
    generation: str
    config: Config


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
        Whether the constructor also takes ``**kwargs``.
    """

    name: str
    target: str
    arguments: tuple[Argument, ...]
    layout: Callable[[Config], Layout]
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
