"""Named tuples for the path of `check`: those of `typing`, made in an eighth of the time.

`typing.NamedTuple` compiles a constructor for each class and each of its annotations when a module is imported, which
was a quarter of the whole command (sixty classes). Here all classes share one constructor, and nothing is compiled.
Type checkers see `typing.NamedTuple` itself.
"""

from __future__ import annotations

from itertools import repeat

from viscy_compat.annotations import TYPE_CHECKING, Any, Iterable, Iterator, TypeVar

_Tuple = TypeVar("_Tuple")

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter

    _MADE = ("__slots__", "_fields", "_field_defaults", "__match_args__")
    _new = tuple.__new__

    class _Meta(type):
        def __new__(mcs, name: str, bases: tuple, namespace: dict) -> type:
            """Turn annotations into fields, and their values into defaults."""
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            if [*fields[len(fields) - len(defaults) :]] != [*defaults]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            reserved = [key for key in namespace if key in _MADE]
            if reserved:
                raise TypeError(f"{name} cannot have an attribute {reserved[0]}")
            namespace.update((field, _tuplegetter(place, field)) for place, field in enumerate(fields))
            namespace.update(zip(_MADE, ((), fields, defaults, fields), strict=True))
            namespace["_last"] = (*defaults.values(),)
            return super().__new__(mcs, name, bases, namespace)

        @property
        def __signature__(cls) -> object:
            from inspect import Parameter, Signature

            kind, defaults = Parameter.POSITIONAL_OR_KEYWORD, cls._field_defaults
            rows = (Parameter(name, kind, default=defaults.get(name, Parameter.empty)) for name in cls._fields)
            return Signature(rows)

    class NamedTuple(tuple, metaclass=_Meta):
        """A tuple whose items have names: annotations of the class body, with defaults where they have values."""

        def __new__(cls, *values: object, **by_name: object) -> tuple:
            """Return a tuple of these values, given by place or by name."""
            missing_count = len(cls._fields) - len(values)
            if by_name or not 0 <= missing_count <= len(cls._last):
                values = cls._bound(values, by_name)
            elif missing_count:
                values += cls._last[-missing_count:]
            return _new(cls, values)

        @classmethod
        def _bound(cls, values: tuple, by_name: dict) -> tuple:
            """Return the values of all fields; a call that does not fit is a TypeError, as everywhere."""
            rest = cls._fields[len(values) :]
            # nearly all are given in full, and are looked up at once; another name among them is a KeyError
            if by_name and len(by_name) == len(rest):
                try:
                    return (*values, *map(by_name.__getitem__, rest))
                except KeyError:
                    pass
            by_name_or_default = {**cls._field_defaults, **by_name}
            if (
                len(values) > len(cls._fields)
                or not by_name.keys() <= {*rest}
                or not {*rest} <= by_name_or_default.keys()
            ):
                words = [f"{len(values)} by place", *by_name]
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}, not {', '.join(words)}")
            return (*values, *[by_name_or_default[field] for field in rest])

        @classmethod
        def _make(cls, values: object) -> tuple:
            record = _new(cls, values)
            if len(record) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(record)}")
            return record

        def _replace(self, /, **changes: object) -> tuple:
            unknown = changes.keys() - {*self._fields}
            if unknown:
                raise ValueError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
            return _new(type(self), map(changes.get, self._fields, self))

        def _asdict(self) -> dict:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            words = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({words})"

        def __getnewargs__(self) -> tuple:
            return tuple(self)


def records_of(kind: type[_Tuple], *columns: Iterable[Any]) -> Iterator[_Tuple]:
    """Return many named tuples out of their columns, one for each field; a call for each tuple takes four times as long.

    Examples
    --------
    >>> class Point(NamedTuple):
    ...     x: int
    ...     y: int = 0
    >>> list(records_of(Point, [1, 3], [2, 4]))
    [Point(x=1, y=2), Point(x=3, y=4)]
    """
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    if len(columns) != len(fields):
        raise TypeError(f"{kind.__name__} has {len(fields)} fields, not {len(columns)}")
    return map(tuple.__new__, repeat(kind), zip(*columns, strict=True))  # type: ignore[arg-type]
