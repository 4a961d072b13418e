"""Wrapper prefixes: the module below which the other side's names stand as they are."""

from __future__ import annotations

from collections import Counter

from viscy_compat.annotations import Mapping
from viscy_compat.matching.name_tree import Label, parts_of

_DEEPEST = 8
"""Parts that are tried as a prefix: `model.`, `module.`, `_orig_mod.` and a name of a task's own are four of them."""


def wrappers(here: Mapping[str, int], there: Mapping[str, int]) -> tuple[Label, Label]:
    """Find the prefix of the source and that of the target below which at least half of the names agree.

    Parameters
    ----------
    here, there : Mapping[str, int]
        The shape key of each name.

    Returns
    -------
    tuple[Label, Label]
        Both empty where there is none, where two do equally well (`student.` and `teacher.`), or where
        what stands outside could be the model as well (`ema.`).

    Examples
    --------
    >>> wrappers({"model.a.w": 0, "model.b": 1, "loss.w": 2}, {"a.w": 0, "b": 1})
    (('model',), ())
    >>> wrappers({"ema.a": 0, "ema.b": 1, "model.x": 0, "model.y": 1}, {"a": 0, "b": 1})
    ((), ())
    >>> wrappers({"one.a": 0, "two.a": 0}, {"a": 0})
    ((), ())
    """
    inner, agreement = _best(here, there)
    outer, converse = _best(there, here)
    if agreement >= converse:
        return (inner, ()) if _is_alone(inner, agreement, here, there) else ((), ())
    return ((), outer) if _is_alone(outer, converse, there, here) else ((), ())


def _is_alone(base: Label, agreement: int, here: Mapping[str, int], there: Mapping[str, int]) -> bool:
    """Whether most names agree below a prefix, and what stands outside of it could not hold as much."""
    shapes = Counter(there.values())
    outside = Counter(key for name, key in here.items() if parts_of(name)[: len(base)] != base)
    return agreement * 2 >= len(there) and (outside & shapes).total() * 2 < len(there)


def _best(here: Mapping[str, int], there: Mapping[str, int]) -> tuple[Label, int]:
    counts: Counter[Label] = Counter()
    for name, key in here.items():
        parts = parts_of(name)
        for depth in range(min(len(parts), _DEEPEST + 1)):
            if there.get(".".join(parts[depth:])) == key:
                counts[parts[:depth]] += 1
    ranking = counts.most_common(2)
    # two prefixes that do equally well (an average beside the model): neither is the model
    if not ranking or (len(ranking) == 2 and ranking[0][1] == ranking[1][1]):
        return (), 0
    return ranking[0]
