"""The names of `typing` that annotations are made of, without `typing` itself: importing that is a tenth of `check`.

Annotations are never evaluated here (``from __future__ import annotations``), so at run time anything may stand for the
names. Type checkers see those of `typing`. What is used at run time (``get_args``, ``runtime_checkable``) comes from there.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
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

    class _Form:
        """Stands for a type in the alias of one: ``Literal["a", "b"]``, ``Shape | Any``."""

        __slots__ = ()

        def __getitem__(self, _):
            return self

        def __or__(self, _):
            return self

        __ror__ = __or__

        def __call__(self, *_, **__):
            return self

    class Generic:
        """A base that can be subscripted, as can what is made of it."""

        __slots__ = ()

        def __class_getitem__(cls, _):
            return cls

    IO = Any = Final = Literal = NoReturn = TypeVar = _Form()
    Protocol = Generic

    def cast(_, value):
        """Return the value."""
        return value
