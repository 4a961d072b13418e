"""Tensor names with ``{i}`` in the place of an index: how a plan file says many rows in one.

A pattern stands for every name of a layout that it matches; it is unfolded in the order of that layout. ``{i}``,
``{j}``... match one whole part of a name that is a number; ``{{`` and ``}}`` are braces that belong to the name.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Iterator, Mapping, Sequence
from viscy_compat.named import NamedTuple

VARIABLES = "ijklmnpqrstuvwxyz"
"""Without o, which looks like a zero."""

Indices = tuple[str, ...]


class Template(NamedTuple):
    """A name with its indices taken out; ``parts`` has an empty string where one stood."""

    parts: tuple[str, ...]
    indices: Indices


def template_of(name: str) -> Template:
    """Take the indices out of a name.

    Examples
    --------
    >>> template_of("stages.0.blocks.12.gamma")
    Template(parts=('stages', '', 'blocks', '', 'gamma'), indices=('0', '12'))
    """
    parts = name.split(".")
    # a name with empty parts would read as if an index had been taken out
    if "" in parts:
        return Template((name,), ())
    return Template(
        tuple("" if is_index(part) else part for part in parts), tuple(part for part in parts if is_index(part))
    )


def is_index(part: str) -> bool:
    """Say whether a part of a name is a number as ``str`` writes it.

    Examples
    --------
    >>> is_index("10"), is_index("010"), is_index("gamma")
    (True, False, False)
    """
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")


class NameIndex:
    """The names of a layout by their templates and numbers, so that a pattern costs no more than what it matches."""

    __slots__ = ("_groups", "_known", "_tables")

    def __init__(self, names: Iterable[str]) -> None:
        self._known = dict.fromkeys(names)
        self._groups: dict[tuple[str, ...], list[tuple[Indices, str]]] = {}
        self._tables: dict[tuple[tuple[str, ...], tuple[int, ...]], dict[Indices, list[tuple[Indices, str]]]] = {}
        for name in self._known:
            parts, indices = template_of(name)
            self._groups.setdefault(parts, []).append((indices, name))

    def matches(self, pattern: str) -> list[tuple[str, dict[str, str]]]:
        """Return each name that a pattern matches, in order, with what its variables stand for.

        Examples
        --------
        >>> NameIndex(["a.0.w", "a.1.w", "b"]).matches("a.{i}.w")
        [('a.0.w', {'i': '0'}), ('a.1.w', {'i': '1'})]
        """
        if not variables_of(pattern):
            name = unescape(pattern)
            return [(name, {})] if name in self._known else []
        slots = tuple("" if _variable(part) else unescape(part) for part in template_of(pattern).parts)
        slots_wanted = tuple(part for part in pattern.split(".") if _variable(part) or is_index(part))
        fixed = tuple(place for place, part in enumerate(slots_wanted) if not _variable(part))
        members = self._table(slots, fixed).get(tuple(slots_wanted[place] for place in fixed), ())
        bound = ((name, _bind(slots_wanted, indices)) for indices, name in members)
        return [(name, values) for name, values in bound if values is not None]

    def _table(self, slots: tuple[str, ...], fixed: tuple[int, ...]) -> dict[Indices, list[tuple[Indices, str]]]:
        """Return the names of a template by their numbers at some places; made once for all patterns of that kind."""
        table = self._tables.get((slots, fixed))
        if table is None:
            table = self._tables[slots, fixed] = {}
            for indices, name in self._groups.get(slots, ()):
                if len(indices) == slots.count(""):  # an empty name has the template of a number, and none
                    table.setdefault(tuple(indices[place] for place in fixed), []).append((indices, name))
        return table


def fill_in(pattern: str, values: Mapping[str, str]) -> str:
    """Return the name that a pattern gives for the values of its variables; KeyError for an unknown variable.

    Examples
    --------
    >>> fill_in("a.{i}.{{w}}", {"i": "3"})
    'a.3.{w}'
    """
    return ".".join(values[_variable(part)] if _variable(part) else unescape(part) for part in pattern.split("."))


def variables_of(pattern: str) -> tuple[str, ...]:
    """Return the variables of a pattern, in order.

    Examples
    --------
    >>> variables_of("a.{i}.b.{j}")
    ('i', 'j')
    """
    return tuple(_variable(part) for part in pattern.split(".") if _variable(part))


def escape(name: str) -> str:
    """Return a pattern that stands for one name only.

    Examples
    --------
    >>> escape("a{i}")
    'a{{i}}'
    """
    return name.replace("{", "{{").replace("}", "}}")


def unescape(text: str) -> str:
    """Undo `escape`; ValueError for a brace that stands alone.

    Examples
    --------
    >>> unescape("a{{i}}")
    'a{i}'
    """
    bare = text.replace("{{", "").replace("}}", "")
    if "{" in bare or "}" in bare:
        raise ValueError(f"{text!r} has a brace that stands alone")
    return text.replace("{{", "{").replace("}}", "}")


def fold_rows(rows: Sequence[tuple[str, ...]], layout: NameIndex) -> Iterator[tuple[str, ...]]:
    """Fold rows of names, the first of each row being a name of `layout`, into as few rows of patterns as is simple.

    Unfolding each result against the layout gives back exactly the rows that it stands for.

    Examples
    --------
    >>> list(fold_rows([("a.0", "b.0"), ("a.1", "b.1"), ("c", "d")], NameIndex(["a.0", "a.1", "c"])))
    [('a.{i}', 'b.{i}'), ('c', 'd')]
    """
    groups: dict[tuple[tuple[str, ...], ...], list[tuple[str, ...]]] = {}
    for row in rows:
        groups.setdefault(tuple(template_of(name).parts for name in row), []).append(row)
    for members in groups.values():
        yield from _fold_group(members, layout)


def unfold_row(row: tuple[str, ...], layout: NameIndex) -> list[tuple[str, ...]]:
    """Return the rows of names that a row of patterns stands for, in the order of the layout.

    Raises
    ------
    ValueError
        Where the first pattern matches nothing, or another one has a variable that the first lacks.

    Examples
    --------
    >>> unfold_row(("a.{i}", "b.{i}"), NameIndex(["a.0", "a.1"]))
    [('a.0', 'b.0'), ('a.1', 'b.1')]
    """
    first, *rest = row
    unknown = {variable for pattern in rest for variable in variables_of(pattern)} - set(variables_of(first))
    if unknown:
        raise ValueError(f"{first!r} does not say what {{{min(unknown)}}} is")
    matches = layout.matches(first)
    if not matches:
        raise ValueError(f"{first!r} matches no tensor")
    return [(name, *(fill_in(pattern, values) for pattern in rest)) for name, values in matches]


def _variable(part: str) -> str:
    """Return the variable that a part of a pattern is, or an empty string."""
    return part[1] if len(part) == 3 and part[0] == "{" and part[2] == "}" and part[1] in VARIABLES else ""


def _bind(pattern: Indices, indices: Indices) -> dict[str, str] | None:
    """Return the values of the variables, or None where a number or a repeated variable disagrees."""
    values: dict[str, str] = {}
    for part, index in zip(pattern, indices, strict=True):
        variable = _variable(part)
        if (values.setdefault(variable, index) if variable else part) != index:
            return None
    return values


def _fold_group(members: list[tuple[str, ...]], layout: NameIndex) -> Iterator[tuple[str, ...]]:
    """Fold rows of equal templates as one pattern; where that would say too much, by the values of one index."""
    pattern = _pattern_of(members) if len(members) > 1 else None
    # the pattern may match names of the layout that are not among these rows
    if pattern is not None and set(unfold_row(pattern, layout)) == set(members):
        yield pattern
        return
    columns = list(zip(*map(_indices, members), strict=True))
    changing = [column for column in columns if len(set(column)) > 1]
    if not changing:
        yield from (tuple(map(escape, row)) for row in members)
        return
    groups: dict[str, list[tuple[str, ...]]] = {}
    # the index with the fewest values gives the fewest patterns
    for row, index in zip(members, min(changing, key=lambda column: len(set(column))), strict=True):
        groups.setdefault(index, []).append(row)
    for part in groups.values():
        yield from _fold_group(part, layout)


def _pattern_of(members: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return one row of patterns for rows of equal templates; None where an index follows from no other."""
    columns = [list(column) for column in zip(*map(_indices, members), strict=True)]
    first = len(template_of(members[0][0]).indices)
    changing = [place for place in range(first) if len(set(columns[place])) > 1]
    if not changing or len(changing) > len(VARIABLES):
        return None
    names = {place: f"{{{variable}}}" for place, variable in zip(changing, VARIABLES[: len(changing)], strict=True)}
    spelling = []
    for place, column in enumerate(columns):
        same = next((names[other] for other in changing if columns[other] == column), None)
        if same is None and len(set(column)) > 1:
            return None
        spelling.append(names[place] if place in names else same or column[0])
    rest = iter(spelling)
    parts = (template_of(name).parts for name in members[0])
    return tuple(".".join(escape(part) or next(rest) for part in name) for name in parts)


def _indices(row: tuple[str, ...]) -> Indices:
    return tuple(index for name in row for index in template_of(name).indices)
