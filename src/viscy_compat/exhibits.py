"""What a report can show besides findings: facts, tables and maps, as data that every renderer understands.

A result may have a method ``exhibits()`` that returns its own; for any other the JSON of the contract is laid out, so
that a new command is readable in every format at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import dumps
from typing import Any, Protocol, TypeGuard, runtime_checkable

from viscy_compat.named import NamedTuple

LAID_OUT_ELSEWHERE = frozenset({"findings", "notes", "verdict", "file", "next"})


class Fact(NamedTuple):
    """A name and what there is to say about it."""

    name: str
    value: str


class Table(NamedTuple):
    """Rows of text under named columns; every row has as many cells as there are columns.

    The words of `MARKS` are shown as marks where a cell is nothing else.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Map(NamedTuple):
    """What comes out over two arguments: one outcome for each pair of values.

    Parameters
    ----------
    title : str
        What the map shows.
    x, y : Fact
        The name of each argument, and the rest of its caption (a unit).
    columns, rows : tuple[str, ...]
        The values of ``x`` from left to right and of ``y`` from the bottom to the top.
    outcomes : tuple[tuple[str, ...], ...]
        One tuple of outcome names for each row.
    fixed : tuple[Fact, ...], optional
        What every cell has in common: the arguments that are held fixed, with their values.
    point : tuple[int, int] or None, optional
        The column and the row of the configuration that was asked about.
    """

    title: str
    x: Fact
    y: Fact
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    outcomes: tuple[tuple[str, ...], ...]
    fixed: tuple[Fact, ...] = ()
    point: tuple[int, int] | None = None


class Paste(NamedTuple):
    """What is to be pasted into a shell or into Python, and what it does."""

    label: str
    code: str


class Branch(NamedTuple):
    """A node of a tree that folds: its name, what there is to say about it, and what stands below it."""

    name: str
    detail: str = ""
    branches: tuple[Branch, ...] = ()


class Exhibits(NamedTuple):
    """Everything that a result, or a whole report, shows besides findings; ``sentence`` says what it is about."""

    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    maps: tuple[Map, ...] = ()
    sentence: str = ""
    pastes: tuple[Paste, ...] = ()
    trees: tuple[Branch, ...] = ()


MARKS = {"holds": 0, "findings": 1, "undecided": 2}
"""Words for the three exit codes; a table cell that is one of them is shown as a mark."""


@runtime_checkable
class Exhibitor(Protocol):
    """A result that chooses what it shows."""

    def exhibits(self) -> Exhibits:
        """Return facts, tables and maps."""


def laid_out(data: Mapping[str, Any]) -> Exhibits:
    """Lay the JSON of a result out: scalars and nested names as facts, lists of objects as tables.

    Examples
    --------
    >>> shown = laid_out({"class": "A", "source": {"kind": "git"}, "failures": [{"code": "VC501"}], "findings": []})
    >>> [tuple(fact) for fact in shown.facts]
    [('class', 'A'), ('source.kind', 'git')]
    >>> shown.tables[0]
    Table(title='failures', columns=('code',), rows=(('VC501',),))
    """
    leaves = list(_leaves({name: value for name, value in data.items() if name not in LAID_OUT_ELSEWHERE}))
    facts = tuple(Fact(name, spoken(value)) for name, value in leaves if not _is_records(value))
    tables = []
    for title, records in leaves:
        if _is_records(records):
            # records may have different fields: a table has them all, in the order in which they come up
            columns = tuple(dict.fromkeys(name for record in records for name in record))
            rows = tuple(tuple(spoken(record.get(name)) for name in columns) for record in records)
            tables.append(Table(title, columns, rows))
    return Exhibits(facts, tuple(tables))


def spoken(value: object) -> str:
    """Say a JSON value as a person would.

    Examples
    --------
    >>> spoken([5, 4, 4]), spoken(True), spoken(None), spoken({"stem_stride": [5, 4, 4]}), spoken([])
    ('5, 4, 4', 'yes', '-', 'stem_stride=5,4,4', '-')
    >>> spoken([{"output": "mean", "largest": 0.5}, {"output": "z", "largest": None}])
    'output mean, largest 0.5; output z, largest -'
    """
    if value is None or value in ([], (), {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_compact(item)}" for name, item in value.items())
    if _is_records(value):
        return "; ".join(", ".join(f"{name} {spoken(item)}" for name, item in record.items()) for record in value)
    if isinstance(value, list | tuple):
        return ", ".join(_compact(item) for item in value)
    return str(value)


def _compact(value: object) -> str:
    if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | Mapping) for item in value):
        return ",".join(_compact(item) for item in value)
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False, default=str)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_records(value: object) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)
