"""What is stated about a checkpoint: constructor arguments, from ``--set``, a configuration, or the file itself.

A value that was found and could not be read exactly stands among the arguments as `Unread`: it is never compared.
"""

from __future__ import annotations

from types import EllipsisType

from viscy_compat.annotations import TYPE_CHECKING, Any, Final, Iterable, Iterator
from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING: Final = "--set"
EXPECT: Final = "--expect"
ARGUMENT: Final = "config"
FILE: Final = "hyper-parameters"
OURS: Final = "remap"
"""Origins of statements besides the paths of configurations: the command line, outputs that settle something, Python, the
file itself, our record."""

ENTRIES: Final = ("hyper_parameters", "hparams", "model_config", "config", "args", "cfg")
"""Entries of checkpoints that hold a configuration; ``hparams`` is that of Lightning before 1.0."""

_MOST_TEXT: Final = 10_000
_MOST_DIGITS: Final = 18
"""What a value on the command line may have: shapes and sizes fit 63 bits."""

_MOST_ITEMS: Final = 1000
"""Values below one argument; constructor arguments have a dozen."""


class Statement(NamedTuple):
    """Arguments that somebody states.

    Parameters
    ----------
    origin : str
        Who does: one of the constants above, or the path of a configuration.
    arguments : Mapping[str, Any]
        By name; `Unread` stands for a value that could not be read exactly.
    class_name : str, optional
        The class that they are stated for, as the source spells it; empty where it names none.
    place : str, optional
        Where in the source they stand (``"model.init_args"``).
    """

    origin: str
    arguments: Mapping[str, Any]
    class_name: str = ""
    place: str = ""


class Known(NamedTuple):
    """A value of an argument, who states it, and where in that source."""

    value: Any
    origin: str
    place: str = ""

    @property
    def binding(self) -> bool:
        """Whether the user states it now, so that a contradiction with the weights is an error."""
        return self.origin not in (FILE, OURS)

    def __str__(self) -> str:
        """Name the source, as a report does."""
        if self.origin == FILE:
            return "the file's own hyper-parameters"
        return "the record that remap left in the file" if self.origin == OURS else self.origin


class NotRead(NamedTuple):
    """A value that was found for an argument and cannot be taken, and why."""

    name: str
    source: Known
    what: str


class Knowledge(NamedTuple):
    """What the sources say about the arguments of one class.

    Parameters
    ----------
    values : Mapping[str, Known]
        The value of each argument that is known, from the source that counts most.
    not_read : tuple[NotRead, ...]
        Values that were found and not taken, of arguments that no source gives.
    overruled : tuple[tuple[str, Known], ...]
        Values that a source which counts more replaces by others.
    silent : tuple[Statement, ...]
        All that the configurations state, where none of it is about the class.
    foreign : tuple[str, ...]
        Names that the user states and the class does not have.
    named : tuple[Statement, ...]
        What configurations state for this very class by its name.
    """

    values: Mapping[str, Known] = {}
    not_read: tuple[NotRead, ...] = ()
    overruled: tuple[tuple[str, Known], ...] = ()
    silent: tuple[Statement, ...] = ()
    foreign: tuple[str, ...] = ()
    named: tuple[Statement, ...] = ()

    def stated(self) -> dict[str, Any]:
        """Return the values alone."""
        return {name: fact.value for name, fact in self.values.items()}

    def without(self, names: Iterable[str]) -> Knowledge:
        """Return what is left once everything is dropped that a source of one of these names states."""
        # a source that is wrong in one argument is of another model: the rest of it may be wrong too
        sources = {self.values[name].origin for name in names if name in self.values} - {SETTING, ARGUMENT}
        rest = {name: fact for name, fact in self.values.items() if fact.binding or fact.origin not in sources}
        return self._replace(values=rest)


def config_statements(config: Mapping[str, Any] | None) -> tuple[Statement, ...]:
    """Return what a caller in Python states; a literal ``...`` states nothing, as in the line that `check` prints.

    Examples
    --------
    >>> config_statements({"head_pool": ..., "stem_stride": [5, 4, 4]})
    (Statement(origin='config', arguments={'stem_stride': (5, 4, 4)}, class_name='', place=''),)
    >>> config_statements(None)
    ()
    """
    arguments = {
        name: _without_numpy(value) for name, value in (config or {}).items() if not isinstance(value, EllipsisType)
    }
    return (Statement(ARGUMENT, arguments),) if arguments else ()


def _without_numpy(value: Any) -> Any:
    """Return a value without numpy's types, with tuples for lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(_without_numpy, value)) if isinstance(value, list | tuple) else value


def parse_value(text: str) -> Any:
    """Read a value as the command line spells it, in each of the spellings that are printed anywhere.

    Raises
    ------
    UsageError
        For a text that is too long, a number beyond 63 bits, and brackets that do not close.

    Examples
    --------
    >>> parse_value("5,4,4"), parse_value("(5, 4, 4)"), parse_value("[5, 4, 4]")
    ((5, 4, 4), (5, 4, 4), (5, 4, 4))
    >>> parse_value("false"), parse_value("None"), parse_value("resnet50"), parse_value("1e-6"), parse_value("'a b'")
    (False, None, 'resnet50', 1e-06, 'a b')
    >>> parse_value("[[2, 2], [1, 1]]"), parse_value("(7,)"), parse_value("7,")
    (((2, 2), (1, 1)), (7,), (7,))
    """
    text = text.strip()
    if len(text) > _MOST_TEXT:
        raise UsageError(f"a value of {len(text)} characters", fix=f"the longest one that is read has {_MOST_TEXT}")
    if text[:1] and text[0] in "([{'\"":
        return _literal(text)
    if "," in text:
        return tuple(parse_value(item) for item in text.rstrip(",").split(","))
    return _WORDS[text.lower()] if text.lower() in _WORDS else _number_or_text(text)


_WORDS: Final = {"true": True, "false": False, "none": None, "null": None}


def parse_settings(settings: Iterable[str], *, flag: str = "--set") -> dict[str, Any]:
    """Read every NAME=VALUE of a repeated flag.

    Raises
    ------
    UsageError
        Where there is no ``=``, no name, or one name twice with two values.

    Examples
    --------
    >>> parse_settings(["stem_stride=5,4,4", "pretrained=false"])
    {'stem_stride': (5, 4, 4), 'pretrained': False}
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(
                f"{flag} {printable(setting)!r} is not NAME=VALUE", fix=f"for example {flag} stem_stride=5,4,4"
            )
        value = parse_value(text)
        if text.strip() in ("VALUE", "..."):
            raise UsageError(
                f"{flag} {name}={text.strip()}: put the value in its place",
                fix="'viscy-compat check FILE' lists what it could be",
            )
        if name in values and values[name] != value:
            raise UsageError(f"{flag} states {name} twice, as {values[name]!r} and {value!r}", fix="state it once")
        values[name] = value
    return values


_PRINTED_BITS: Final = 2048
"""Python refuses to print integers of more than 4,300 digits."""


def spell(value: Any) -> str:
    """Spell a value as ``--set`` takes it.

    Examples
    --------
    >>> spell((5, 4, 4)), spell(None), spell(True), spell(((2, 2), (1, 1))), spell("none")
    ('5,4,4', 'none', 'true', '[[2,2],[1,1]]', "'none'")
    """
    if isinstance(value, tuple | list):
        nested = any(isinstance(item, tuple | list | dict) for item in value)
        if nested:
            from json import dumps

            return dumps(value, separators=(",", ":"))
        return ",".join(map(spell, value)) + ("," if len(value) == 1 else "")
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if type(value) is int and value.bit_length() > _PRINTED_BITS:
        return "a-number-beyond-2048-bits"
    text = printable(str(value))
    if not isinstance(value, str):
        return text
    # what would be read as something else than itself is put in quotes
    looks_like_more = bool(set(text) & set(",([{'\"")) or text.lower() in _WORDS
    looks_like_more |= text[:1] in "+-.0123456789" and not isinstance(_number_or_text(text), str)
    return repr(text) if looks_like_more else text


def statements_in(document: Any, origin: str) -> Iterator[Statement]:
    """Find the constructor arguments that a document of dictionaries and lists states, the outermost first.

    Arguments stand in a dictionary of their own beside the name of a class (LightningCLI's ``class_path`` and
    ``init_args``, VisCy's ``architecture`` and ``model_config``, the ``name`` and ``args`` of older MONAI bundles), in
    the dictionary that names the class (Hydra's and MONAI's ``_target_``), or flat among other things at the top or
    under ``model``. Each node is walked once, however often aliases share it.

    Examples
    --------
    >>> [row.arguments for row in statements_in({"model": {"class_path": "a.B", "init_args": {"n": [1]}}}, "here")]
    [{'n': (1,)}]
    >>> [(row.class_name, row.arguments) for row in statements_in({"net": {"_target_": "a.B", "n": 1}}, "here")]
    [('a.B', {'n': 1})]
    >>> [(row.place, row.arguments) for row in statements_in({"lr": 0.1, "n": None}, "hparams.yaml")]
    [('', {'lr': 0.1, 'n': None})]
    """
    pending: list[tuple[str, Any]] = [("", document)]
    seen: set[int] = set()
    given: set[int] = set()
    for place, node in pending:
        if id(node) in seen or not isinstance(node, dict | list):
            continue
        seen.add(id(node))
        if isinstance(node, list):
            pending.extend((place, item) for item in node)
            continue
        yield from _statements_at(node, place, given, origin=origin)
        pending.extend((f"{place}.{name}".lstrip("."), item) for name, item in node.items())


_CLASS_KEYS: Final = ("class_path", "_target_", "architecture", "_class_path", "class_name", "class", "name")
"""LightningCLI's, Hydra's and VisCy's own words for a class; where one dictionary has several, the first one
counts."""

_ARGUMENT_KEYS: Final = ("init_args", "model_config", "net_config", "generator_config", "args", "config")
_ALWAYS: Final = _ARGUMENT_KEYS[:4]
"""Those that hold arguments of a model even where no class stands beside them: so do VisCy's modules save them."""

_FLAT: Final = frozenset(
    (*_ARGUMENT_KEYS, "model", "hparams", "hyper_parameters", "network", "net", "network_def", "encoder", "vae", "cfg")
)
"""Parts of a path below which arguments may stand among other things, with no class beside them."""


def _statements_at(node: Mapping[str, Any], place: str, given: set[int], *, origin: str) -> Iterator[Statement]:
    """Yield what one dictionary states: in dictionaries of arguments below it, by its own target, or flat.

    ``given`` collects dictionaries that were taken as the arguments of a class, which are nothing else any more.
    """
    name: str = next((value for key in _CLASS_KEYS if isinstance(value := node.get(key), str) and value), "")
    below = [key for key in _ARGUMENT_KEYS if isinstance(node.get(key), dict) and (name or key in _ALWAYS)]
    for key in below:
        given.add(id(node[key]))
        yield Statement(origin, plain_arguments(node[key]), name, f"{place}.{key}".lstrip("."))
    flat = id(node) not in given and not (name and below) and _FLAT.issuperset(filter(None, place.split(".")))
    if "_target_" in node or flat:
        # words of Hydra's own (_target_, _partial_, _convert_) are no arguments
        others = {key: value for key, value in node.items() if key[:1] != "_" and key not in below}
        if arguments := plain_arguments(others):
            yield Statement(origin, arguments, name, place)


def plain_arguments(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the entries of a mapping that could be constructor arguments, lists as tuples.

    Examples
    --------
    >>> plain_arguments({"stride": [5, 4, 4], "loss": {"a": 1}})
    {'stride': (5, 4, 4)}
    >>> plain_arguments({"stride": "${other}", "axes": [1, Unread("a tensor")]})
    {'stride': Unread(what='the interpolation ${other}'), 'axes': Unread(what='a tensor')}
    """
    read = {name: _argument(value) for name, value in mapping.items() if isinstance(name, str)}
    return {name: value for name, value in read.items() if not isinstance(value, dict)}


def _argument(value: Any) -> Any:
    """Return a value with tuples for lists; `Unread` where it is none, or is one only once something is evaluated."""
    waiting, problem = [value], None
    for count, item in enumerate(waiting):
        if count >= _MOST_ITEMS:
            return Unread("a structure too large to read")
        if isinstance(item, Unread):
            return item
        if isinstance(item, list | tuple):
            waiting.extend(item[:_MOST_ITEMS])
        elif isinstance(item, dict) and item is not value:
            return Unread("a list of dictionaries")
        elif isinstance(item, str) and problem is None:
            # interpolations of OmegaConf, and expressions of MONAI, are no values before somebody evaluates them
            if "${" in item:
                problem = Unread(f"the interpolation {item[:60]}")
            elif item[:1] in ("@", "$", "%") and len(item) > 1:
                problem = Unread(f"the expression {item[:60]}")
        elif not (item is None or isinstance(item, bool | int | float | str | dict)):
            return Unread(f"a {type(item).__name__}")
    return problem or with_tuples(value)


def with_tuples(value: Any) -> Any:
    """Return a value with tuples for lists, at any depth: JSON and YAML have lists where constructors take tuples.

    Examples
    --------
    >>> with_tuples([5, [4, 4]]), with_tuples("abc")
    ((5, (4, 4)), 'abc')
    """
    return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value


def _literal(text: str) -> Any:
    """Read a bracketed or quoted value: Python's spelling first, then JSON's."""
    from ast import literal_eval
    from json import loads

    for read in (literal_eval, loads):
        try:
            return _within_bounds(with_tuples(read(text)), text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    inner = text[1:-1] if text[0] + text[-1] in ("()", "[]") else ""
    if inner and not set(inner) & set("()[]{}'\""):
        value = parse_value(inner)
        return value if isinstance(value, tuple) or text[0] == "(" else (value,)
    raise UsageError(f"{printable(text[:60])!r} is no value", fix="write lists as 5,4,4 or (5, 4, 4)")


def _within_bounds(value: Any, text: str) -> Any:
    """Return a value that JSON can hold; ValueError for Python's others (complex numbers, bytes, sets, an ellipsis)."""
    if isinstance(value, tuple | list | dict):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _within_bounds(item, text)
    elif not (value is None or isinstance(value, int | float | str)):
        raise ValueError(type(value).__name__)
    elif isinstance(value, int) and value.bit_length() > 63:
        raise _too_large(text)
    return value


def _number_or_text(text: str) -> int | float | str:
    digits = text.lstrip("+-")
    if digits.isdigit() and len(digits) > _MOST_DIGITS:
        raise _too_large(text)
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _too_large(text: str) -> UsageError:
    return UsageError(f"the number {printable(text[:20])}... is too large", fix="numbers have at most 63 bits")
