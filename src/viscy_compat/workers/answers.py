"""What is asked of a worker and what it answers, as immutable records; JSON stays between parent and worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from viscy_compat.errors import WorkerFailed
from viscy_compat.layout import Layout, TensorSpec

Mode = Literal["eval", "train"]
MODES: tuple[Mode, Mode] = ("eval", "train")

REPORT = ("layout", "initial", *MODES)
"""What a side is asked for in every case that is compared or recorded."""


@dataclass(frozen=True)
class Run:
    """Build one class with one configuration, and report (see `viscy_compat.workers.program`).

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
        Any of layout, initial, eval, train, gradients, modules, slopes.
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
class WorkerOutput:
    """One tensor that a forward pass returned."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str = ""
    finite: bool = True
    samples: tuple[float, ...] = ()
    norm: float = 0.0


def name_outputs(outputs: Sequence[WorkerOutput], names: Sequence[str]) -> dict[str, WorkerOutput]:
    """Give outputs the names that a class has for them; one without such a name keeps its place as its name.

    Examples
    --------
    >>> outputs = [WorkerOutput("0", (2, 1), "float32"), WorkerOutput("1", (2, 1), "bool")]
    >>> list(name_outputs(outputs, ["embedding", "projection"])), list(name_outputs(outputs, ["output"]))
    (['embedding', 'projection'], ['output', '1'])
    >>> list(name_outputs(outputs[:1], ["embedding", "projection"]))
    ['embedding']
    """
    spare = [output.name for output in outputs[len(names) :]]
    return dict(zip([*names, *spare][: len(outputs)], outputs, strict=True))


@dataclass(frozen=True)
class Pass:
    """One forward pass: outputs in order, then the generator and the buffers as they were left.

    ``unrepeatable`` says what has no repeatable algorithm on this device; then bytes say nothing.
    """

    type: str
    outputs: tuple[WorkerOutput, ...]
    generator: str
    buffers: Mapping[str, str]
    unrepeatable: str = ""


@dataclass(frozen=True)
class Initial:
    """The seeded weights right after construction, in the order of the layout, and the generator."""

    digests: tuple[str, ...]
    generator: str
    samples: tuple[tuple[float, ...], ...] = ()
    norms: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModuleCall:
    """One call of one submodule: digests of what it was given and of what it returned."""

    module: str
    type: str
    given: str
    returned: str


@dataclass(frozen=True)
class ModuleNumbers:
    """One call of one submodule: root mean squares and a few numbers of what it was given and of what it returned."""

    module: str
    type: str
    given: tuple[float, ...]
    returned: tuple[float, ...]


@dataclass(frozen=True)
class WorkerAnswer:
    """Everything that one side said of one case; what was not asked for is empty."""

    layout: Layout = field(default_factory=dict)
    initial: Initial | None = None
    passes: Mapping[Mode, Pass | Raised] = field(default_factory=dict)
    calls: Mapping[Mode, tuple[ModuleCall, ...]] = field(default_factory=dict)
    felt: Mapping[Mode, tuple[ModuleNumbers, ...]] = field(default_factory=dict)
    slopes: tuple[tuple[float, ...], ...] = ()
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
class ClassDescription:
    """A class as a worker sees it: its file and constructor, or what importing it raised."""

    file: str = ""
    signature: tuple[Parameter, ...] = ()
    error: Raised | None = None


def read_answer(json: Mapping[str, Any], side: str, run: Run) -> WorkerAnswer:
    """Turn the JSON of a ``run`` into records.

    Raises
    ------
    WorkerFailed
        Where the answer leaves out what was asked for, or is not shaped as it must be.
    """
    with _Shaped(side):
        # on the device "meta" shapes are followed, and no number is computed that could be digested
        answer = _answer(json, computed=run.options.get("device") != "meta")
        # a model that was not built, or not loaded, has nothing more to say
        if not answer.error:
            _whole(answer, json, run)
        return answer


def read_description(json: Mapping[str, Any], side: str) -> ClassDescription:
    """Turn the JSON of a ``class`` into records; raises `WorkerFailed` where it is misshapen."""
    with _Shaped(side):
        if json.get("error"):
            return ClassDescription(error=_error(json["error"]))
        rows = tuple(
            Parameter(_safe_text(n), _safe_text(k), _flag(o), _default(d)) for n, k, o, d in _list(json["signature"])
        )
        return ClassDescription(_safe_text(json["file"] or ""), rows)


def read_names(json: Mapping[str, Any], side: str, names: Sequence[str]) -> dict[str, Raised | None]:
    """Turn the JSON of ``names`` into what importing each raised; raises `WorkerFailed` where it is misshapen."""
    with _Shaped(side):
        found = json["names"]
        return {name: None if found[name] is None else _error(found[name]) for name in names}


class _Shaped:
    """What strange code answers may have any shape; whatever that leads to is one error."""

    def __init__(self, side: str) -> None:
        self.side = side

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> Literal[False]:
        wrong = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
        if kind and issubclass(kind, wrong):
            what = f" ({value})" if isinstance(value, _Misshapen) else ""
            message = f"gave an answer of the wrong shape{what}"
            raise WorkerFailed(message, where=f"the {self.side} worker", code="VC603") from value
        return False


class _Misshapen(ValueError):
    """What is wrong with an answer, in words of ours."""


def _whole(answer: WorkerAnswer, json: Mapping[str, Any], run: Run) -> None:
    """Refuse an answer that says less than it was asked."""
    missing = [name for name in run.report if name not in json]
    if missing:
        raise _Misshapen(f"without {', '.join(missing)}")
    initial = answer.initial
    if initial and "layout" in run.report and len(initial.digests) != len(answer.layout):
        raise _Misshapen(f"{len(initial.digests)} initial weights of {len(answer.layout)} tensors")
    if initial and run.options.get("samples") and len(initial.samples) != len(initial.digests):
        raise _Misshapen("without samples")
    # one for each place along each axis behind the channels
    if answer.slopes and [*map(len, answer.slopes)] != [*run.input[2:]]:
        raise _Misshapen("slopes of another input")
    if initial and run.options.get("norms") and len(initial.norms) != len(initial.digests):
        raise _Misshapen("without norms")


def _answer(json: Mapping[str, Any], *, computed: bool) -> WorkerAnswer:
    return WorkerAnswer(
        layout=_layout(json.get("layout", [])),
        initial=_initial(json["initial"]) if "initial" in json else None,
        passes={mode: _pass(json[mode], computed=computed) for mode in MODES if mode in json},
        calls={mode: _calls(json["modules"][mode]) for mode in MODES if mode in json.get("modules", ())},
        felt={mode: _felt(json["modules"][mode]) for mode in MODES if mode in json.get("modules", ())},
        slopes=tuple(map(_numbers, _list(json.get("slopes", [])))),
        error=_error(json["error"]) if json.get("error") else None,
        seconds={_safe_text(name): _number(value) for name, value in json.get("seconds", {}).items()},
    )


def _layout(rows: Any) -> Layout:
    layout = {_safe_text(name): TensorSpec(_shape(shape), _safe_text(dtype)) for name, shape, dtype in _list(rows)}
    # a dictionary keeps the last of them, and the first would go uncompared
    if len(layout) != len(rows):
        raise _Misshapen("two tensors of one name")
    return layout


def _error(json: Mapping[str, Any]) -> Raised:
    return Raised(_safe_text(json["stage"]), _safe_text(json["type"]), _safe_text(json["message"]))


def _initial(json: Mapping[str, Any]) -> Initial:
    samples = tuple(_numbers(row) for row in _list(json.get("samples", [])))
    digests = tuple(map(_digest, _list(json["digests"])))
    return Initial(digests, _digest(json["generator"]), samples, _numbers(json.get("norms", [])))


def _pass(json: Mapping[str, Any], *, computed: bool) -> Pass | Raised:
    if json.get("error"):
        return _error(json["error"])
    outputs = tuple(_output(row, computed=computed) for row in _list(json["outputs"]))
    if len({output.name for output in outputs}) != len(outputs):
        raise _Misshapen("two outputs of one name")
    if not computed:
        return Pass(_safe_text(json["type"]), outputs, "", {})
    buffers = {_safe_text(name): _digest(digest) for name, digest in json["buffers"].items()}
    generator, unrepeatable = _digest(json["generator"]), _safe_text(json.get("unrepeatable", ""))
    return Pass(_safe_text(json["type"]), outputs, generator=generator, buffers=buffers, unrepeatable=unrepeatable)


def _output(json: Mapping[str, Any], *, computed: bool) -> WorkerOutput:
    return WorkerOutput(
        name=_safe_text(json["name"]),
        shape=_shape(json["shape"]),
        dtype=_safe_text(json["dtype"]),
        digest=_digest(json["digest"]) if computed else "",
        finite=_flag(json["finite"]) if computed else True,
        samples=_numbers(json.get("samples", [])),
        norm=_number(json.get("norm", 0.0)),
    )


def _calls(json: Mapping[str, Any]) -> tuple[ModuleCall, ...]:
    return tuple(ModuleCall(*map(_safe_text, _list(row))) for row in _list(json["calls"]))


def _felt(json: Mapping[str, Any]) -> tuple[ModuleNumbers, ...]:
    if "numbers" not in json:
        return ()
    calls, numbers = _calls(json), _list(json["numbers"])
    if len(calls) != len(numbers):
        raise _Misshapen("numbers of other calls than it names")
    rows = zip(calls, numbers, strict=True)
    return tuple(ModuleNumbers(call.module, call.type, *map(_numbers, _list(row))) for call, row in rows)


# --- values ------------------------------------------------------------------------------------------------------

_LONGEST = 1 << 16
"""Characters of one text: a message of a worker has at most 2,000, a default or a name rarely a hundred."""
_HEXADECIMAL = frozenset("0123456789abcdef")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Misshapen("something else than a list")
    return value


def _safe_text(value: Any) -> str:
    """Return a text that can be printed and written anywhere: half a character is shown as such."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise _Misshapen("something else than a text")
    return value.encode("utf-8", "backslashreplace").decode()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Misshapen("something else than true or false")
    return value


def _number(value: Any) -> float:
    """Return a number; infinities and NaN are what a model may give."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Misshapen("something else than a number")
    return float(value)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(_number, _list(values)))


def _shape(value: Any) -> tuple[int, ...]:
    sizes = tuple(_list(value))
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in sizes):
        raise _Misshapen("a shape of something else than sizes")
    return sizes


def _digest(value: Any) -> str:
    """Return a SHA-256; two of them that say nothing would be equal."""
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= _HEXADECIMAL:
        raise _Misshapen("something else than a digest")
    return value


def _default(value: Any) -> Any:
    """Return the default of an argument as JSON has it; of texts and lists of them, so that it can be compared."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return [_default(item) for item in value] if isinstance(value, list) else _safe_text(value)
