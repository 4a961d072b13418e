"""What the domains of arguments mean: whether a value could be one, and which values to try."""

from __future__ import annotations

from itertools import product

from viscy_compat.annotations import Any
from viscy_compat.architectures.architecture import Choice, Domain, Floats, Integers, Repeated, TupleOf

_LARGEST = 1 << 20
_MOST_VALUES = 64
"""Beyond these a number is no width or size that was ever built, and a list of choices is no help to a reader."""


def is_a_value(domain: Domain, value: Any) -> bool:
    """Whether a value has the kind that a domain describes; bounds are those of exploring, so they do not count.

    Examples
    --------
    >>> is_a_value(Integers(1, 8), 30), is_a_value(Integers(1, 8), 0), is_a_value(Integers(1, 8), "8")
    (True, False, False)
    >>> is_a_value(TupleOf((Integers(1, 8),) * 2), (4, 4)), is_a_value(TupleOf((Integers(1, 8),) * 2), (4, 4, 4))
    (True, False)
    >>> is_a_value(Choice((None, (1, 2))), (3, 4))
    True
    """
    if isinstance(domain, Integers):
        return _is_integer(value) and min(domain.low, 1) <= value <= _LARGEST
    if isinstance(domain, Floats):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(domain, Choice):
        return any(_is_like(value, known) for known in domain.values)
    if not isinstance(value, tuple):
        return False
    if isinstance(domain, TupleOf):
        return len(value) == len(domain.domains) and all(map(is_a_value, domain.domains, value))
    return bool(value) and all(is_a_value(domain.domain, item) for item in value)


def some_values(domain: Domain, now: Any) -> list[Any]:
    """Return values to try beside the present one: all of a choice, ends and neighbours of a range.

    Examples
    --------
    >>> some_values(Integers(1, 512), 128)
    [1, 127, 129, 512]
    >>> some_values(Choice((False, True)), False)
    [False, True]
    """
    if isinstance(domain, Choice):
        return list(domain.values)
    if isinstance(domain, Floats):
        return [domain.low, domain.high]
    if isinstance(domain, Integers):
        return _integers(domain, now)
    if isinstance(domain, Repeated):
        return [(item,) * len(now) for item in some_values(domain.domain, now[0])]
    tried = [some_values(item, value) for item, value in zip(domain.domains, now, strict=True)]
    return [tuple(values) for values in list(product(*tried))[:_MOST_VALUES]]


def is_whole(domain: Domain) -> bool:
    """Whether `some_values` lists all that an argument can be: a choice of words or switches, not one of numbers.

    Examples
    --------
    >>> is_whole(Choice((False, True))), is_whole(Choice((None, 0.1, 0.5))), is_whole(Integers(1, 2))
    (True, False, False)
    """
    return isinstance(domain, Choice) and all(value is None or isinstance(value, bool | str) for value in domain.values)


def _integers(domain: Integers, now: int) -> list[int]:
    near = {domain.low, domain.high, now - 1, now + 1}
    return sorted(value for value in near if domain.low <= value <= domain.high)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_like(value: Any, known: Any) -> bool:
    """Whether a value has the type of a known one; integers are positive where the known one is."""
    if isinstance(known, tuple):
        return isinstance(value, tuple) and len(value) == len(known) and all(map(_is_like, value, known))
    if _is_integer(known):
        return _is_integer(value) and min(known, 1) <= value <= _LARGEST
    return type(value) is type(known) or (isinstance(known, float) and _is_integer(value))
