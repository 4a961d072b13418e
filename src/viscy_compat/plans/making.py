"""The one place that makes the plan of a file: `check`, `remap` and `load_model` all come here.

A plan calls a source tensor by its name without the wrapper prefix, and by its raw key where it stands outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from viscy_compat.architectures.architecture import Generation
from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Drop, Fill, Operation, sources_of, targets_of
from viscy_compat.plans.plan import Plan, PlanEnd, identity_rows, inverse_of, plan_of, with_casts

OUTSIDE = "it stands outside the model"
COUNTER = "the file has none; torch starts it at 0, and it is read only where momentum is None"


class Sources(NamedTuple):
    """The tensors of a file as a plan has them: their layout, and their raw keys, by the names of the plan."""

    layout: Layout
    keys: Mapping[str, str]


def sources_of_view(checkpoint: Checkpoint, view: View) -> Sources:
    """Return what a plan can take from a file.

    Raises
    ------
    PlanRefused
        Where a raw key outside the prefix is also a name inside of it: which of the two is meant is not known.
    """
    twice = [key for key in view.outside if key in view.keys]
    if twice:
        reason = f"source|stands outside {view.prefix!a} too, so that two tensors have this name"
        raise PlanRefused(
            f"{len(twice)} names stand inside and outside of {view.prefix!a}, as {twice[0]!a}",
            where=checkpoint.path,
            fix="save the one that is meant without the other",
            leftovers=tuple((key, reason) for key in twice),
        )
    outside = {key: checkpoint.tensors[key].spec for key in view.outside}
    return Sources({**layout_of(checkpoint, view), **outside}, {**view.keys, **{key: key for key in view.outside}})


def source_side(checkpoint: Checkpoint, view: View, *, state_dict: str | None = None) -> PlanEnd:
    """Return the end of a plan that a file is, names of no known class; raises as `sources_of_view` does."""
    layout = sources_of_view(checkpoint, view).layout
    return PlanEnd(layout, prefix=view.prefix, lacks=view.lacks, inner=view.inner, state_dict=state_dict)


def known_plan(checkpoint: Checkpoint, view: View, found: Inference, *, state_dict: str | None = None) -> Plan:
    """Return the total plan of a file whose class and generation are known.

    Parameters
    ----------
    checkpoint, view, found
        The set of weights, how it is seen, and what it is.
    state_dict : str, optional
        Its address, where the file holds several.

    Raises
    ------
    PlanRefused
        Where there is none, with every leftover and its reason.
    """
    name, there = found.architecture.name, _today(layout_of(checkpoint, view), found)
    source = source_side(checkpoint, view, state_dict=state_dict)._replace(
        class_name=name, generation=found.generation.name, config=found.config
    )
    here = source.layout
    target = PlanEnd(there, name, found.architecture.generations[-1].name, found.config)
    rows = (*with_casts(rows_to_today(layout_of(checkpoint, view), found), here, there), *_drops(checkpoint, view))
    return plan_of(source, target, rows, loses=(*found.generation.loses, *_losses(view, rows)))


def _losses(view: View, rows: Sequence[Operation]) -> tuple[str, ...]:
    if not view.dropped:
        return ()
    from viscy_compat.plans.dropping import losses_of

    return losses_of(rows)


def plan_back(checkpoint: Checkpoint, view: View, found: Inference, generation: Generation) -> Plan:
    """Return the plan that leads from today's layout back to that of an older generation.

    Raises
    ------
    PlanRefused
        Where the file does not have today's layout, or a row has no inverse.
    Unbuildable
        Where the older generation did not have this configuration.
    """
    if view.outside:
        raise PlanRefused(f"{view.outside[0]!a} stands outside the model", where=checkpoint.path)
    here, name, config = layout_of(checkpoint, view), found.architecture.name, found.config
    older = generation.layout(config)
    rows = generation.to_today(older) if generation.to_today else identity_rows(older)
    before = PlanEnd(older, name, generation.name, config)
    return inverse_of(plan_of(before, PlanEnd(here, name, found.generation.name), rows))


def _today(layout: Layout, found: Inference) -> Layout:
    """Return today's layout; that of the file, where it is the same to the last name, shape and dtype."""
    latest = found.generation is found.architecture.generations[-1]
    same = latest and not (found.retyped or found.reordered or found.uncounted)
    return layout if same else found.architecture.layout(found.config)


def rows_to_today(layout: Layout, found: Inference) -> tuple[Operation, ...]:
    """Return the rows from a layout to today's; what a missing batch counter would have become is filled."""
    whole = {**layout, **{name: TensorSpec((), "int64") for name in found.uncounted}}
    rows = found.generation.to_today(whole) if found.generation.to_today else identity_rows(whole)
    lacking = set(found.uncounted)
    return tuple(
        Fill(targets_of(row)[0], (), "int64", 0, COUNTER) if lacking & {*sources_of(row)} else row for row in rows
    )


def unmade_by(layout: Layout, found: Inference) -> tuple[str, ...]:
    """Return the names of today's layout that no row of the file's generation makes."""
    if not found.generation.to_today:
        return ()
    made = {name for row in rows_to_today(layout, found) for name in targets_of(row)}
    return tuple(name for name in found.architecture.layout(found.config) if name not in made)


def fills_counters_alone(plan: Plan) -> bool:
    """Whether a plan changes nothing but that it adds batch counters, as torch does on its own.

    Examples
    --------
    >>> side = PlanEnd({"w": TensorSpec((2,))})
    >>> fills_counters_alone(plan_of(side, side, identity_rows(side.layout)))
    True
    """
    return all(isinstance(row, Fill) and row.reason == COUNTER for row in plan.changes)


def _drops(checkpoint: Checkpoint, view: View) -> Iterator[Drop]:
    for key in view.outside:
        if key not in view.dropped:
            yield Drop(key, OUTSIDE)
            continue
        from viscy_compat.plans.dropping import drop_of

        yield drop_of(key, checkpoint.tensors[key].spec)


def keys_of(patterns: Sequence[str], checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the raw keys that ``--drop`` names, by raw keys or by names without a wrapper prefix.

    Raises
    ------
    UsageError
        Where a pattern names nothing.
    """
    from viscy_compat.plans.dropping import stated_drops

    layout = {key: tensor.spec for key, tensor in checkpoint.tensors.items()}
    names = [(key, name) for view in views_of(checkpoint) for name, key in view.keys.items()]
    return tuple(stated_drops(patterns, layout, names))


def view_without(view: View, keys: Sequence[str]) -> View:
    """Return a view without the tensors of some raw keys: they stand outside of it, dropped."""
    held = {name: key for name, key in view.keys.items() if key not in keys}
    return view._replace(keys=held, outside=tuple(dict.fromkeys((*view.outside, *keys))), dropped=tuple(keys))


def with_dropped(whole: Checkpoint, lean: Checkpoint, judged: Checkpoint, view: View) -> tuple[Checkpoint, View]:
    """Return a checkpoint and a view that have what was dropped again, outside of the model.

    Parameters
    ----------
    whole, lean : Checkpoint
        The file, and the file without what is dropped.
    judged : Checkpoint
        The set that was judged, out of `lean`.
    view : View
        Its names.
    """
    dropped = tuple(key for key in whole.tensors if key not in lean.tensors)
    complete = judged.without(())
    complete.tensors = {**judged.tensors, **{key: whole.tensors[key] for key in dropped}}
    return complete, view._replace(outside=(*view.outside, *dropped), dropped=dropped)
