"""Named tuples for the path of `check`: those of `typing`, made in an eighth of the time.

`typing.NamedTuple` compiles a constructor for each class and each of its annotations when a module is imported, which
was a quarter of the whole command (sixty classes). Here a class compiles its constructor when it is first called, and
nobody compiles annotations. Type checkers see `typing.NamedTuple` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter

    _MADE = ("__slots__", "_fields", "_field_defaults", "__match_args__")

    class _Meta(type):
        def __new__(mcs, name, bases, namespace):
            """Turn annotations into fields, and their values into defaults."""
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            if [*fields[len(fields) - len(defaults) :]] != [*defaults]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            taken = [key for key in namespace if key in _MADE]
            if taken:
                raise TypeError(f"{name} cannot have an attribute {taken[0]}")
            namespace.update((field, _tuplegetter(place, field)) for place, field in enumerate(fields))
            namespace.update(zip(_MADE, ((), fields, defaults, fields), strict=True))
            return super().__new__(mcs, name, bases, namespace)

        @property
        def __signature__(cls):
            import inspect

            _first, *others = inspect.signature(_constructor(cls)).parameters.values()
            return inspect.Signature(others)

    class NamedTuple(tuple, metaclass=_Meta):
        """A tuple whose items have names: annotations of the class body, with defaults where they have values."""

        def __new__(cls, *values, **named):
            """Compile the constructor of a class, which takes the place of this one."""
            cls.__new__ = staticmethod(_constructor(cls))
            return cls.__new__(cls, *values, **named)

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            told = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({told})"

        def __getnewargs__(self):
            return tuple(self)

    def _constructor(cls):
        names = ", ".join(cls._fields)
        made = eval(f"lambda _cls, {names}: _new(_cls, ({names}{',' * bool(names)}))", {"_new": tuple.__new__})
        made.__defaults__ = tuple(cls._field_defaults.values())
        made.__name__, made.__qualname__ = "__new__", f"{cls.__qualname__}.__new__"
        return made
