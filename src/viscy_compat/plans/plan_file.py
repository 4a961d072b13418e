"""The plan file: JSON, folded so that a person can read it, parsed strictly.

A plan file carries names, shapes and numbers; it carries no paths, and nothing in it is ever opened or called.
"""

from __future__ import annotations

import json
from itertools import pairwise

from viscy_compat.annotations import Any, Callable, Iterator, Mapping
from viscy_compat.errors import NoPlanFile, PlanRefused
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.matching.patterns import NameIndex, fold_rows, unfold_row
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.plans.plan import Plan, PlanEnd, layout_digest, plan_of

SCHEMA = 1
LONGEST, MOST_VALUES = 20 << 20, 1_500_000
"""Bytes of a plan file, and names and values in it, beyond which it is refused: twice what 60,000 tensors need."""


def plan_id(plan: Plan) -> str:
    """Return sixteen hexadecimal digits that are the same for equal plans, folded or not.

    Examples
    --------
    >>> from viscy_compat.operations import Rename
    >>> side = PlanEnd({"w": TensorSpec((2,))})
    >>> len(plan_id(plan_of(side, side, [Rename("w", "w")])))
    16
    """
    import hashlib

    rows = [[type(row).__name__, *row] for row in plan.operations]
    sides = [[layout_digest(side.layout), side.class_name, side.generation] for side in (plan.source, plan.target)]
    # 64 bits tell plans apart, and can be compared by eye
    return hashlib.sha256(json.dumps([sides, rows]).encode()).hexdigest()[:16]


def dumps(plan: Plan) -> str:
    """Return a plan as the text of a plan file; equal plans give equal text.

    Examples
    --------
    >>> from viscy_compat.operations import Rename
    >>> layout = {f"a.{i}": TensorSpec((2,)) for i in range(3)}
    >>> text = dumps(plan_of(PlanEnd(layout), PlanEnd(layout), [Rename(name, name) for name in layout]))
    >>> '{"op": "rename", "source": "a.{i}", "target": "a.{i}"}' in text
    True
    """
    rows = ",\n".join(f"    {json.dumps(row)}" for row in _folded_rows(plan))
    loses = ",\n".join(f"    {json.dumps(line)}" for line in plan.loses)
    return (
        f'{{\n  "schema": {SCHEMA},\n'
        f'  "source": {_side_text(plan.source)},\n'
        f'  "target": {_side_text(plan.target)},\n'
        f'  "operations": [\n{rows}\n  ],\n'
        f'  "loses": [{_indented_lines(loses, "  ")}]\n}}\n'
    )


def loads(text: str, *, where: str = "plan") -> Plan:
    """Read the text of a plan file; the plan is checked to be total.

    Parameters
    ----------
    text : str
        What `dumps` wrote, or what a person wrote in that format.
    where : str, optional
        The file, for error messages.

    Raises
    ------
    NoPlanFile
        Not JSON, a field that is unknown, missing, repeated or of the wrong type, a pattern that matches nothing, or a
        layout that does not have the digest that the file states.
    PlanRefused
        A plan that is not total.

    Examples
    --------
    >>> loads("{}", where="plan.json")
    Traceback (most recent call last):
    viscy_compat.errors.NoPlanFile: plan.json: the plan has no field 'schema'; remap --write-plan writes one
    """
    try:
        return _plan(_parse(text))
    except _Malformed as error:
        raise NoPlanFile(str(error), where=where, fix=_FIX) from error
    except PlanRefused as error:
        raise PlanRefused(error.message, where=where, leftovers=error.leftovers) from error


def read_plan(path: str) -> Plan:
    """Read a plan file.

    Raises
    ------
    NoPlanFile, PlanRefused
        As `loads`; the former also where the file is longer than `LONGEST`, or no text.
    UnreadableCheckpoint
        Where there is no such regular file.
    """
    from viscy_compat.checkpoint.byte_source import ByteSource

    with ByteSource(path) as source:
        if source.size > LONGEST:
            raise NoPlanFile(f"{source.size} bytes are too many for a plan; at most {LONGEST} are read", where=path)
        data = source.read(0, source.size)
    # counted before it is parsed: parsed JSON takes many times the memory of its text
    values = sum(map(data.count, (b":", b",", b"[", b"{")))
    if values > MOST_VALUES:
        raise NoPlanFile(f"{values} names and values are too many for a plan; at most {MOST_VALUES} are", where=path)
    try:
        return loads(data.decode("utf-8"), where=path)
    except UnicodeDecodeError as error:
        raise NoPlanFile("this is not UTF-8 text, so no plan", where=path, fix=_FIX) from error


_FIX = "remap --write-plan writes one"

_BOUND, _RANK = 1 << 63, 64
"""torch holds sizes in 63 bits, and at most 64 of them."""


class _Malformed(Exception):
    """A plan file that does not say what a plan file must say."""


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _Malformed(f"this is not JSON ({error.msg} in line {error.lineno}), so no plan") from error
    except ValueError as error:
        raise _Malformed(f"this is no plan ({error})") from error
    except RecursionError as error:
        raise _Malformed("this is nested too deeply for a plan") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    # json takes the last of two equal names: what a person reads first would count for nothing
    if len(fields) != len(pairs):
        # in one pass: an object of a plan that somebody made up may have a million names
        names = sorted(name for name, _ in pairs)
        twice = next(name for name, other in pairwise(names) if name == other)
        raise _Malformed(f"{twice!r} stands twice in one object")
    return fields


def _refuse_constant(name: str) -> Any:
    raise _Malformed(f"{name} is no number that a plan may hold")


def _plan(data: Any) -> Plan:
    fields = _fields(data, "the plan", "schema", "source", "target", "operations", optional=("loses",))
    # True equals 1
    if fields["schema"] is True or fields["schema"] != SCHEMA:
        raise _Malformed(f"the plan has schema {fields['schema']!r}; this version reads {SCHEMA}")
    source, target = _side(fields["source"], "source"), _side(fields["target"], "target")
    loses = _list(fields.get("loses", []), "loses")
    rows = _operations(_list(fields["operations"], "operations"), source.layout, target.layout)
    return plan_of(source, target, rows, loses=tuple(_string(line, "a line of loses") for line in loses))


_OPTIONAL = ("class", "generation", "config", "prefix", "lacks", "inner", "state_dict")


def _side(data: Any, what: str) -> PlanEnd:
    fields = _fields(data, what, "layout", "tensors", optional=_OPTIONAL)
    config = fields.get("config", {})
    if not isinstance(config, dict):
        raise _Malformed(f"{what}: 'config' is no object")
    layout = _layout(fields["tensors"], what)
    if layout_digest(layout) != _string(fields["layout"], f"{what}: 'layout'"):
        raise _Malformed(f"{what}: the tensors do not have the digest that 'layout' states: one of them was edited")
    return PlanEnd(
        layout,
        class_name=_string(fields.get("class", ""), f"{what}: 'class'"),
        generation=_string(fields.get("generation", ""), f"{what}: 'generation'"),
        config={name: _tuples(value) for name, value in config.items()},
        prefix=_string(fields.get("prefix", ""), f"{what}: 'prefix'"),
        lacks=_string(fields.get("lacks", ""), f"{what}: 'lacks'"),
        inner=tuple(_texts(fields.get("inner", []), f"{what}: 'inner'")),
        state_dict=_string(fields["state_dict"], f"{what}: 'state_dict'") if "state_dict" in fields else None,
    )


def _layout(data: Any, what: str) -> Layout:
    if not isinstance(data, dict):
        raise _Malformed(f"{what}: 'tensors' is no object")
    layout = {}
    for name, spec in data.items():
        if not (isinstance(spec, list) and len(spec) == 2):
            raise _Malformed(f"{what}: {name!r} is no [dtype, shape]")
        layout[name] = TensorSpec(_shape(spec[1], f"{what}: {name!r}"), _string(spec[0], f"{what}: {name!r}"))
    return layout


def _operations(rows: list[Any], source: Layout, target: Layout) -> Iterator[Operation]:
    here, there = NameIndex(source), NameIndex(target)
    for place, row in enumerate(rows):
        what = f"operation {place}"
        op = str(row.get("op")) if isinstance(row, dict) else ""
        if op not in _FORMATS:
            raise _Malformed(f"{what}: 'op' must be one of {', '.join(_FORMATS)}")
        form = _FORMATS[op]
        needed = [name for name in form.values if name not in form.optional]
        fields = _fields(row, what, "op", *form.names, *needed, optional=form.optional)
        patterns: list[str] = []
        for name in form.names:
            where = f"{what}: '{name}'"
            patterns += _texts(fields[name], where) if name.endswith("s") else [_string(fields[name], where)]
        values = {name: read(fields[name], f"{what}: '{name}'") for name, read in form.values.items() if name in fields}
        try:
            rows_of_names = unfold_row(tuple(patterns), there if op == "fill" else here)
        except ValueError as error:
            raise _Malformed(f"{what}: {error}") from error
        yield from (form.kind(**form.fields_of(names), **values) for names in rows_of_names)


def _fields(data: Any, what: str, *required: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an object that has every needed field and no unknown one."""
    if not isinstance(data, dict):
        raise _Malformed(f"{what} is no object")
    for name in required:
        if name not in data:
            raise _Malformed(f"{what} has no field {name!r}")
    for name in data:
        if name not in required and name not in optional:
            raise _Malformed(f"{what} has a field {name!r} that is not known")
    return data


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Malformed(f"{what} is no text")
    return value


def _finite(value: Any, what: str) -> float:
    # true is an int to Python, and no number to a reader
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Malformed(f"{what} must be a number")
    try:
        return float(value)
    except OverflowError as error:
        raise _Malformed(f"{what} is too large") from error


def _flag(value: Any, what: str) -> bool:
    if type(value) is not bool:
        raise _Malformed(f"{what} must be true or false")
    return value


def _integer(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _BOUND:
        raise _Malformed(f"{what} must be a whole number, 0 or more and below 2^63")
    return value


def _integers(value: Any, what: str) -> tuple[int, ...]:
    return tuple(_integer(item, what) for item in _list(value, what))


def _shape(value: Any, what: str) -> tuple[int, ...]:
    """Return a shape of as many dimensions as torch has: the number of its elements can then be printed."""
    shape = _integers(value, what)
    if len(shape) > _RANK:
        raise _Malformed(f"{what} has {len(shape)} dimensions, and no tensor has more than {_RANK}")
    return shape


def _texts(value: Any, what: str) -> list[str]:
    return [_string(item, what) for item in _list(value, what)]


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Malformed(f"{what} must be a list")
    return value


def _tuples(value: Any) -> Any:
    """Return tuples for lists, at any depth: configurations have tuples where JSON has lists."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _side_text(side: PlanEnd) -> str:
    fields = {
        "class": side.class_name,
        "generation": side.generation,
        "config": dict(side.config),
        "state_dict": side.state_dict,
        "prefix": side.prefix,
        "lacks": side.lacks,
        "inner": list(side.inner),
        "layout": layout_digest(side.layout),
    }
    texts = {name: value for name, value in fields.items() if value or (name == "state_dict" and value is not None)}
    lines = [f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in texts.items()]
    tensors = [
        f"      {json.dumps(name)}: {json.dumps([spec.dtype, spec.shape])}" for name, spec in side.layout.items()
    ]
    block = _indented_lines(",\n".join(tensors), "    ")
    lines.append(f'    "tensors": {{{block}}}')
    return "{\n" + ",\n".join(lines) + "\n  }"


def _indented_lines(lines: str, indent: str) -> str:
    return f"\n{lines}\n{indent}" if lines else ""


class _RowFormat(NamedTuple):
    """How operations of one kind stand in a plan file.

    ``names`` are the fields that hold names, the one that patterns are matched on first; ``values`` are the others, each
    with the function that reads it; ``optional`` are those among them that may be missing.
    """

    kind: Callable[..., Operation]
    names: tuple[str, ...]
    values: Mapping[str, Callable[[Any, str], Any]]
    optional: tuple[str, ...] = ()

    def fields_of(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the fields that hold some names; one field at most holds several."""
        if self.names == ("source", "targets"):
            return {"source": names[0], "targets": names[1:]}
        if self.names == ("sources", "target"):
            return {"sources": names[:-1], "target": names[-1]}
        return dict(zip(self.names, names, strict=True))


_FORMATS: dict[str, _RowFormat] = {
    "rename": _RowFormat(Rename, names=("source", "target"), values={}),
    "drop": _RowFormat(
        Drop,
        names=("source",),
        values={
            "reason": _string,
            "holding": lambda value, what: None if value is None else _finite(value, what),
            "changes_predictions": _flag,
        },
        optional=("holding", "changes_predictions"),
    ),
    "fill": _RowFormat(
        Fill,
        names=("target",),
        values={"shape": _shape, "dtype": _string, "value": _finite, "reason": _string},
    ),
    "cast": _RowFormat(Cast, names=("source", "target"), values={"dtype": _string}),
    "reshape": _RowFormat(Reshape, names=("source", "target"), values={"shape": _shape}),
    "transpose": _RowFormat(Transpose, names=("source", "target"), values={"axes": _integers}),
    "split": _RowFormat(Split, names=("source", "targets"), values={"axis": _integer, "sizes": _integers}),
    "concat": _RowFormat(Concat, names=("sources", "target"), values={"axis": _integer}),
}


def _folded_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield operations as JSON objects, folded where that says exactly the same."""
    here, there = NameIndex(plan.source.layout), NameIndex(plan.target.layout)
    groups: dict[tuple[Any, ...], list[tuple[str, ...]]] = {}
    for row in plan.operations:
        op = type(row).__name__.lower()
        names = [getattr(row, name) for name in _FORMATS[op].names]
        flat = tuple(part for name in names for part in ((name,) if isinstance(name, str) else name))
        values = tuple(getattr(row, name) for name in _FORMATS[op].values)
        groups.setdefault((op, len(flat), values), []).append(flat)
    for (op, _, values), rows in groups.items():
        pairs = zip(_FORMATS[op].values, values, strict=True)
        # what is optional is left out where it says nothing
        fields_of_values = {name: value for name, value in pairs if value is not None and value is not False}
        # a fill has no source: its names are found in the target
        for patterns in fold_rows(rows, there if op == "fill" else here):
            yield {"op": op, **_FORMATS[op].fields_of(patterns), **fields_of_values}
