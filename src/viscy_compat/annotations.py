"""Names of the standard library that the way of `check` needs, without the modules that cost more than they give there.

Importing `typing`, `collections`, `functools`, `contextlib` and `importlib` was a third of the whole command. Annotations
are never evaluated here (``from __future__ import annotations``), so at run time anything may stand for most names; type
checkers see the real ones. What is used at run time in other ways (``get_args``, ``Counter``) comes from its own module.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable as Callable
    from collections.abc import Collection as Collection
    from collections.abc import Generator as Generator
    from collections.abc import Hashable as Hashable
    from collections.abc import Iterable as Iterable
    from collections.abc import Iterator as Iterator
    from collections.abc import Mapping as Mapping
    from collections.abc import Sequence as Sequence
    from contextlib import suppress as suppress
    from functools import cached_property as cached_property
    from importlib import import_module as import_module
    from typing import IO as IO
    from typing import Any as Any
    from typing import Final as Final
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import TypeVar as TypeVar
    from typing import cast as cast
else:
    # where collections.abc has these from; `os` has loaded it before us
    from _collections_abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence  # noqa: F401

    class _Form:
        """Stands for a type in the alias of one: ``Literal["a", "b"]``, ``Shape | Any``."""

        __slots__ = ()

        def __getitem__(self, _: object) -> object:
            return self

        def __or__(self, _: object) -> object:
            return self

        __ror__ = __or__

        def __call__(self, *_: object, **__: object) -> object:
            return self

    class Generic:
        """A base that can be subscripted, as can what is made of it."""

        __slots__ = ()

        def __class_getitem__(cls, _: object) -> type:
            return cls

    IO = Any = Final = Literal = NoReturn = TypeVar = _Form()
    Protocol = Generic

    def cast(_: object, value: object) -> object:
        """Return the value."""
        return value

    def import_module(name: str) -> object:
        """Import a module by its dotted name."""
        __import__(name)
        return sys.modules[name]

    class suppress:
        """Go on behind the block where one of these errors is raised in it."""

        __slots__ = ("_errors",)

        def __init__(self, *errors: type[BaseException]) -> None:
            self._errors = errors

        def __enter__(self) -> None:
            return None

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
            return kind is not None and issubclass(kind, self._errors)

    class cached_property:
        """A property that is computed once: the value goes where the next look finds it first."""

        def __init__(self, compute: Callable) -> None:
            self._compute, self.__doc__ = compute, compute.__doc__

        def __get__(self, owner: object, _: object = None) -> object:
            if owner is None:
                return self
            value = owner.__dict__[self._compute.__name__] = self._compute(owner)
            return value
