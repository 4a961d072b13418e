"""What a user states about a checkpoint: constructor arguments from ``--set`` and from a training configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from viscy_compat.errors import UsageError, lacking
from viscy_compat.layout import printable
from viscy_compat.layout import quoted as quoted
from viscy_compat.named import NamedTuple

MOST_BYTES = 1 << 20
"""A training configuration is a few kilobytes; beyond this a file is not read as one."""


class Statement(NamedTuple):
    """Arguments that somebody states, who does, and for which class (empty where nobody says)."""

    origin: str
    arguments: Mapping[str, Any]
    class_name: str = ""


def parse_value(text: str) -> Any:
    """Read a value as the command line spells it.

    Examples
    --------
    >>> parse_value("5,4,4"), parse_value("false"), parse_value("resnet50"), parse_value("1e-6"), parse_value("none")
    ((5, 4, 4), False, 'resnet50', 1e-06, None)
    >>> parse_value("[[2, 2], [1, 1]]"), parse_value("7,")
    (((2, 2), (1, 1)), (7,))
    """
    if text[:1] in ("[", "{", '"'):
        return _json_value(text)
    if "," in text:
        return tuple(parse_value(item.strip()) for item in text.rstrip(",").split(","))
    words = {"true": True, "false": False, "none": None, "null": None}
    return words[text.lower()] if text.lower() in words else _number_or_text(text)


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
        value = parse_value(text.strip())
        if name in values and values[name] != value:
            raise UsageError(f"{flag} states {name} twice, as {values[name]!r} and {value!r}", fix="state it once")
        values[name] = value
    return values


def read_config(path: str) -> tuple[Statement, ...]:
    """Read the constructor arguments that a LightningCLI or VisCy training configuration states.

    Every mapping under ``init_args`` beside a ``class_path``, and every ``model_config``, is one statement, outermost
    first.

    Raises
    ------
    UsageError
        Where the file cannot be read, is no YAML mapping, or states nothing.
    """
    document = _load_yaml(path)
    found = tuple(statements_in(document, path))
    if not found:
        fix = "arguments stand under init_args beside a class_path, or under model_config"
        raise UsageError("states no constructor arguments", where=path, fix=fix)
    return found


def spelled(value: Any) -> str:
    """Spell a value as ``--set`` takes it.

    Examples
    --------
    >>> spelled((5, 4, 4)), spelled(None), spelled(True), spelled(((2, 2), (1, 1)))
    ('5,4,4', 'none', 'true', '[[2,2],[1,1]]')
    """
    if isinstance(value, tuple | list):
        nested = any(isinstance(item, tuple | list | dict) for item in value)
        inner = ",".join(_as_json(item) if nested else spelled(item) for item in value)
        return f"[{inner}]" if nested else inner + ("," if len(value) == 1 else "")
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return printable(str(value))


def _as_json(value: Any) -> str:
    from json import dumps

    return dumps(value, separators=(",", ":"))


def _load_yaml(path: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise lacking("--config", "PyYAML", "config") from error
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(
                f"is larger than {MOST_BYTES} bytes", where=path, fix="give the config.yaml of the training run"
            )
        return yaml.safe_load(data)
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=path, fix="check the path after --config") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or "cannot be parsed")
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"is no YAML: {printable(problem)}{place}", where=path, fix="correct the file") from error


def statements_in(document: Any, origin: str) -> Iterator[Statement]:
    """Find the constructor arguments that a document of dictionaries and lists states, outermost first.

    Each node is walked once, however often aliases share it.

    Examples
    --------
    >>> [row.arguments for row in statements_in({"model": {"class_path": "a.B", "init_args": {"n": 1}}}, "here")]
    [{'n': 1}]
    """
    pending: list[tuple[str, Any]] = [("", document)]
    seen: set[int] = set()
    while pending:
        owner, node = pending.pop(0)
        if id(node) in seen or not isinstance(node, dict | list):
            continue
        seen.add(id(node))
        if isinstance(node, list):
            pending.extend((owner, item) for item in node)
            continue
        class_path = node.get("class_path")
        owner = class_path.rpartition(".")[2] if isinstance(class_path, str) else owner
        for name in ("init_args", "model_config"):
            if isinstance(node.get(name), dict):
                yield Statement(origin, plain_arguments(node[name]), owner)
        pending.extend((owner, item) for item in node.values())


def plain_arguments(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the entries of a mapping that could be constructor arguments, lists as tuples.

    Examples
    --------
    >>> plain_arguments({"stride": [5, 4, 4], "loss": {"a": 1}})
    {'stride': (5, 4, 4)}
    """
    return {name: _with_tuples(value) for name, value in mapping.items() if isinstance(name, str) and _is_plain(value)}


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < 4 and len(value) < 100 and all(_is_plain(item, depth + 1) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _json_value(text: str) -> Any:
    from json import JSONDecodeError, loads

    try:
        return _with_tuples(loads(text))
    except (JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{printable(text)!r} is no value", fix="write lists as 5,4,4 or as JSON") from error


def _number_or_text(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
