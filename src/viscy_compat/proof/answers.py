"""What is asked of a worker and what it answers, as immutable records; JSON stays between parent and worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from viscy_compat.errors import WorkerFailed
from viscy_compat.layout import Layout, TensorSpec

Mode = Literal["eval", "train"]
MODES: tuple[Mode, Mode] = ("eval", "train")


@dataclass(frozen=True)
class Run:
    """Build one class with one configuration, and report (see `viscy_compat.proof.worker`).

    Parameters
    ----------
    source : str
        The name of a source that the worker knows.
    target : str
        ``"package.module:Name"``.
    config : Mapping[str, Any]
        Constructor arguments.
    input : tuple[int, ...]
        The shape that is fed.
    report : tuple[str, ...]
        Any of layout, initial, eval, train, gradients, modules.
    seed : int
        Set before construction and before every forward pass.
    options : Mapping[str, Any]
        Further fields of the request: device, samples, load, weights, inputs, modes, save, keep.
    """

    source: str
    target: str
    config: Mapping[str, Any]
    input: tuple[int, ...]
    report: tuple[str, ...]
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the request."""
        asked = {"source": self.source, "class": self.target, "config": dict(self.config), "input": list(self.input)}
        return {"op": "run", **asked, "report": list(self.report), "seed": self.seed, **self.options}


@dataclass(frozen=True)
class Raised:
    """What strange code raised, and at which stage: import, build, load, forward or backward."""

    stage: str
    type: str
    message: str

    @property
    def kind(self) -> tuple[str, str]:
        """What two refusals must share to be the same."""
        return self.stage, self.type

    def __str__(self) -> str:
        first = self.message.strip().splitlines()[0] if self.message.strip() else ""
        return f"{self.type} at {self.stage}" + (f": {first[:200]}" if first else "")


@dataclass(frozen=True)
class Output:
    """One tensor that a forward pass returned."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str = ""
    finite: bool = True
    samples: tuple[float, ...] = ()
    norm: float = 0.0


def named(outputs: Sequence[Output], names: Sequence[str]) -> dict[str, Output]:
    """Give outputs the names that a class has for them; one without such a name keeps its place as its name.

    Examples
    --------
    >>> outputs = [Output("0", (2, 1), "float32"), Output("1", (2, 1), "bool")]
    >>> list(named(outputs, ["embedding", "projection"])), list(named(outputs, ["output"]))
    (['embedding', 'projection'], ['output', '1'])
    >>> list(named(outputs[:1], ["embedding", "projection"]))
    ['embedding']
    """
    spare = [output.name for output in outputs[len(names) :]]
    return dict(zip([*names, *spare][: len(outputs)], outputs, strict=True))


@dataclass(frozen=True)
class Pass:
    """One forward pass: outputs in order, then the generator and the buffers as they were left."""

    type: str
    outputs: tuple[Output, ...]
    generator: str
    buffers: Mapping[str, str]


@dataclass(frozen=True)
class Initial:
    """The seeded weights right after construction, in the order of the layout, and the generator."""

    digests: tuple[str, ...]
    generator: str
    samples: tuple[tuple[float, ...], ...] = ()
    norms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Call:
    """One call of one submodule: digests of what it was given and of what it returned."""

    module: str
    type: str
    given: str
    returned: str


@dataclass(frozen=True)
class Answer:
    """Everything that one side said of one case; what was not asked for is empty."""

    layout: Layout = field(default_factory=dict)
    initial: Initial | None = None
    passes: Mapping[Mode, Pass | Raised] = field(default_factory=dict)
    calls: Mapping[Mode, tuple[Call, ...]] = field(default_factory=dict)
    error: Raised | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor; ``default`` counts only where ``optional`` is true."""

    name: str
    kind: str
    optional: bool
    default: Any

    def __str__(self) -> str:
        return f"{self.name}={self.default!r}" if self.optional else self.name


@dataclass(frozen=True)
class Described:
    """A class as a worker sees it: its file and constructor, or what importing it raised."""

    file: str = ""
    signature: tuple[Parameter, ...] = ()
    error: Raised | None = None


def read_answer(json: Mapping[str, Any], side: str) -> Answer:
    """Turn the JSON of a ``run`` into records.

    Raises
    ------
    WorkerFailed
        Where the answer is not shaped as it must be.
    """
    try:
        return _answer(json)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _misshapen(side) from error


def read_described(json: Mapping[str, Any], side: str) -> Described:
    """Turn the JSON of a ``class`` into records; raises `WorkerFailed` where it is misshapen."""
    try:
        if json.get("error"):
            return Described(error=_raised(json["error"]))
        rows = tuple(Parameter(str(n), str(k), bool(o), d) for n, k, o, d in json["signature"])
        return Described(str(json["file"] or ""), rows)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _misshapen(side) from error


def _misshapen(side: str) -> WorkerFailed:
    return WorkerFailed("gave an answer of the wrong shape", where=f"the {side} worker", code="VC603")


def _answer(json: Mapping[str, Any]) -> Answer:
    return Answer(
        layout={str(name): TensorSpec(tuple(shape), str(dtype)) for name, shape, dtype in json.get("layout", ())},
        initial=_initial(json["initial"]) if "initial" in json else None,
        passes={mode: _pass(json[mode]) for mode in MODES if mode in json},
        calls={mode: _calls(json["modules"][mode]) for mode in MODES if mode in json.get("modules", ())},
        error=_raised(json["error"]) if json.get("error") else None,
        seconds=dict(json.get("seconds", {})),
    )


def _raised(json: Mapping[str, Any]) -> Raised:
    return Raised(str(json["stage"]), str(json["type"]), str(json["message"]))


def _initial(json: Mapping[str, Any]) -> Initial:
    samples = tuple(tuple(map(float, row)) for row in json.get("samples", ()))
    norms = tuple(map(float, json.get("norms", ())))
    return Initial(tuple(map(str, json["digests"])), str(json["generator"]), samples, norms)


def _pass(json: Mapping[str, Any]) -> Pass | Raised:
    if json.get("error"):
        return _raised(json["error"])
    outputs = tuple(_output(row) for row in json["outputs"])
    return Pass(str(json["type"]), outputs, str(json.get("generator", "")), dict(json.get("buffers", {})))


def _output(json: Mapping[str, Any]) -> Output:
    return Output(
        name=str(json["name"]),
        shape=tuple(json["shape"]),
        dtype=str(json["dtype"]),
        digest=str(json.get("digest", "")),
        finite=bool(json.get("finite", True)),
        samples=tuple(map(float, json.get("samples", ()))),
        norm=float(json.get("norm", 0.0)),
    )


def _calls(json: Mapping[str, Any]) -> tuple[Call, ...]:
    return tuple(Call(*map(str, row)) for row in json["calls"])
