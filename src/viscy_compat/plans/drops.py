"""Which tensors a plan may drop: what carries no weights, and what the user names with ``--drop``.

A tensor that computes changes predictions when it goes. Such a drop needs the flag, and the plan says it.
"""

from __future__ import annotations

import re

from viscy_compat.annotations import Collection, Iterable, Iterator, Sequence
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import views_of
from viscy_compat.errors import UsageError
from viscy_compat.layout import Layout, TensorSpec, in_short, printable, unfold
from viscy_compat.matching.hints import parse_hint
from viscy_compat.matching.shapes import harmless_reason
from viscy_compat.operations import Drop, Operation
from viscy_compat.plans.plan import Plan

STATED = "--drop says so, and it computes: this changes predictions"
_FOLDED = r"\{\d+(\.\.\d+|(,\d+)+)\}"


def stated_drops(patterns: Sequence[str], layout: Layout, aliases: Collection[tuple[str, str]] = ()) -> dict[str, Drop]:
    """Return a drop for each tensor that ``--drop`` names.

    Parameters
    ----------
    patterns : Sequence[str]
        Each a tensor, a module, or a pattern of either: ``blocks.{0..3}.gamma`` as reports print it, ``{i}`` for any
        number, ``*`` for any part.
    layout : Layout
        The tensors of the file, by the names that reports have for them.
    aliases : Collection[tuple[str, str]], optional
        Names of the layout, each with another one that may be given in its place.

    Raises
    ------
    UsageError
        Where a pattern names nothing.

    Examples
    --------
    >>> layout = {"a.0.w": TensorSpec((2,)), "a.1.w": TensorSpec((2,)), "n_averaged": TensorSpec((), "int64")}
    >>> [drop.changes_predictions for drop in stated_drops(["a.{0..1}.w", "n_averaged"], layout).values()]
    [True, True, False]
    """
    return {name: drop_of(name, layout[name]) for pattern in patterns for name in _names_of(pattern, layout, aliases)}


def losses_of(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Return the sentence for a plan that drops what computes; nothing for any other.

    Examples
    --------
    >>> losses_of([Drop("a", STATED, changes_predictions=True)])
    ('changes predictions: tensors that compute are dropped (a)',)
    """
    names = changing_drops(operations)
    return (f"changes predictions: tensors that compute are dropped ({in_short(names)})",) if names else ()


def changing_drops(operations: Iterable[Operation]) -> list[str]:
    """Return the tensors that compute something and are dropped.

    Examples
    --------
    >>> changing_drops([Drop("a", STATED, changes_predictions=True), Drop("b", "why")])
    ['a']
    """
    return [row.source for row in operations if isinstance(row, Drop) and row.changes_predictions]


def with_effects(plan: Plan, outside: Sequence[str]) -> Plan:
    """Return a plan whose drops say that predictions change, wherever it is not known that they do not.

    A plan file may have been written by hand: what it says about a tensor's harmlessness is not taken for granted.

    Parameters
    ----------
    plan : Plan
        Out of a file.
    outside : Sequence[str]
        The raw keys that stand outside the model.
    """
    rows: list[Operation] = []
    for row in plan.operations:
        # a drop that demands a value was filled in by a plan; what stands outside was never the model's
        if isinstance(row, Drop) and row.holding is None and row.source not in outside:
            harmless = harmless_reason(row.source, plan.source.layout[row.source])
            rows.append(row if harmless else row._replace(changes_predictions=True))
        else:
            rows.append(row)
    loses = (*plan.loses, *(line for line in losses_of(rows) if line not in plan.loses))
    return plan._replace(operations=tuple(rows), loses=loses)


def drop_of(name: str, spec: TensorSpec) -> Drop:
    """Return the drop of a tensor that the user takes out.

    Examples
    --------
    >>> drop_of("a.weight_g", TensorSpec((8, 1))).changes_predictions
    True
    """
    reason = harmless_reason(name, spec)
    return Drop(name, f"--drop says so; it {reason}") if reason else Drop(name, STATED, changes_predictions=True)


def keys_of(patterns: Sequence[str], checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the raw keys that ``--drop`` names, by raw keys or by names without a wrapper prefix.

    Raises
    ------
    UsageError
        Where a pattern names nothing.
    """
    layout = {key: tensor.spec for key, tensor in checkpoint.tensors.items()}
    names = [(key, name) for view in views_of(checkpoint) for name, key in view.keys.items()]
    return tuple(stated_drops(patterns, layout, names))


def view_without(view: View, keys: Sequence[str]) -> View:
    """Return a view without the tensors of some raw keys: they stand outside of it, dropped."""
    rest = {name: key for name, key in view.keys.items() if key not in keys}
    return view._replace(keys=rest, outside=tuple(dict.fromkeys((*view.outside, *keys))), dropped=tuple(keys))


def with_dropped(whole: Checkpoint, lean: Checkpoint, row: Checkpoint, view: View) -> tuple[Checkpoint, View]:
    """Return a checkpoint and a view that have what was dropped again, outside of the model.

    Parameters
    ----------
    whole, lean : Checkpoint
        The file, and the file without what is dropped.
    row : Checkpoint
        The set that was judged, out of `lean`.
    view : View
        Its names.
    """
    dropped_keys = tuple(key for key in whole.tensors if key not in lean.tensors)
    # a copy: the set that was judged stays as it is
    complete = row.without(())
    complete.tensors = {**row.tensors, **{key: whole.tensors[key] for key in dropped_keys}}
    return complete, view._replace(outside=(*view.outside, *dropped_keys), dropped=dropped_keys)


def _names_of(pattern: str, layout: Layout, aliases: Collection[tuple[str, str]]) -> Iterator[str]:
    spellings = [pattern]
    if pattern and re.search(_FOLDED, pattern):
        # unfold() knows the numbers that reports fold, and no other braces: those are for `parse_hint`, and set aside
        named_placeholders = re.sub(r"\{([A-Za-z_]\w*)\}", "\0\\1\1", pattern)
        spellings = [each.replace("\0", "{").replace("\1", "}") for each in unfold(named_placeholders)]
    # a name stands for a tensor, or for a module and with it for every tensor below
    fits = [re.compile(f"(?:{parse_hint(f'{each}=').old.pattern})(?:\\.|$)") for each in spellings]
    names = [name for name in layout if any(fit.match(name) for fit in fits)]
    # the names of the file go before those that a report has without their prefix
    names = names or [name for name, alias in aliases if any(fit.match(alias) for fit in fits)]
    if not names:
        raise UsageError(
            "no tensor or module of the file has this name",
            where=f"--drop {printable(pattern)}",
            fix="give it as check and inspect print it, from its start",
        )
    return iter(names)
