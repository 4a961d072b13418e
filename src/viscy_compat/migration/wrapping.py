"""Wrapper prefixes: the module below which the other side's names stand as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from viscy_compat.migration.name_tree import Label

_DEEPEST = 8


def wrappers(here: Mapping[str, int], there: Mapping[str, int]) -> tuple[Label, Label]:
    """Find the prefix of the source and that of the target below which at least half of the names agree.

    Parameters
    ----------
    here, there : Mapping[str, int]
        The shape key of each name.

    Returns
    -------
    tuple[Label, Label]
        Both empty where there is none, or where two do equally well (`student.` and `teacher.`).

    Examples
    --------
    >>> wrappers({"model.a.w": 0, "model.b": 1, "loss.w": 2}, {"a.w": 0, "b": 1})
    (('model',), ())
    >>> wrappers({"one.a": 0, "two.a": 0}, {"a": 0})
    ((), ())
    """
    inner, agreeing = _best(here, there)
    outer, converse = _best(there, here)
    if agreeing * 2 < len(there) and converse * 2 < len(here):
        return (), ()
    return (inner, ()) if agreeing >= converse else ((), outer)


def _best(here: Mapping[str, int], there: Mapping[str, int]) -> tuple[Label, int]:
    counts: Counter[Label] = Counter()
    for name, key in here.items():
        parts = tuple(name.split("."))
        for depth in range(min(len(parts), _DEEPEST + 1)):
            if there.get(".".join(parts[depth:])) == key:
                counts[parts[:depth]] += 1
    ranked = counts.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return (), 0
    return ranked[0]
