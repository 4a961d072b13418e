"""The one place that makes plans: `check`, `remap` and `load_model` all come here.

A plan is known (the class and the generation of a file are), inferred (its names are matched with those of a layout), or
leads back to an older generation. It calls a source tensor by its name without the wrapper prefix, and by its raw key
where it stands outside of it.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Callable, Final, Iterable, Iterator, Mapping, cast
from viscy_compat.architectures.architecture import Generation
from viscy_compat.architectures.inference import MOST_REMEMBERED, Inference, RecentAnswers
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import layout_of
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec, in_short, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Drop, Fill, Operation, Rename, Split, sources_of, targets_of
from viscy_compat.plans.plan import Plan, PlanEnd, identity_rows, inverse_of, plan_of, plan_without_changes, with_casts

if TYPE_CHECKING:
    from viscy_compat.matching.pairs import Matching

OUTSIDE = "it stands outside the model"
COUNTER = "the file has none; torch starts it at 0, and it is read only where momentum is None"

PlanTrial = Callable[[Plan], bool]
"""Says whether a candidate plan gives the outputs that the user expects."""

_MOST_SOURCES = 6
"""Candidates of one tensor that a line lists."""


class Sources(NamedTuple):
    """The tensors of a file as a plan has them: their layout, and their raw keys, by the names of the plan."""

    layout: Layout
    keys: Mapping[str, str]


class Route(NamedTuple):
    """From a file to a target layout, maybe through an older layout of a known class.

    Parameters
    ----------
    source, target : PlanEnd
        The layout of the file, and the one that is wanted.
    outside : tuple[str, ...], optional
        Tensors of the source that stand outside the model, and are dropped.
    dropped : tuple[str, ...], optional
        Those among them that the user takes out of the model.
    inference : Inference, optional
        The class, generation and configuration, where they are known.
    """

    source: PlanEnd
    target: PlanEnd
    outside: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    inference: Inference | None = None

    @property
    def here(self) -> Layout:
        """The tensors of the model, by the names of the file."""
        outside = frozenset(self.outside)
        return {name: spec for name, spec in self.source.layout.items() if name not in outside}

    @property
    def there(self) -> Layout:
        """The layout whose names are looked for: that of the file's generation, where it is known."""
        return self.inference.written if self.inference else self.target.layout

    def plan(self, rows: Iterable[Operation]) -> Plan:
        """Return the plan of which rows are those of the model's tensors; `PlanRefused` where it is not total."""
        loses = self.inference.generation.loses if self.inference else ()
        every: list[Operation] = list(with_casts(rows, self.source.layout, self.target.layout))
        every += [Drop(name, OUTSIDE) for name in self.outside if name not in self.dropped]
        # what the user takes out may compute: then the plan says so
        if self.dropped:
            from viscy_compat.plans.drops import drop_of, losses_of

            every += [drop_of(name, self.source.layout[name]) for name in self.outside if name in self.dropped]
            loses = (*loses, *losses_of(every))
        return plan_of(self.source, self.target, every, loses=loses)


class InferredPlan(NamedTuple):
    """An inferred plan, and on what ground each target tensor has its source."""

    plan: Plan
    grounds: Mapping[str, str]


def sources_of_view(checkpoint: Checkpoint, view: View) -> Sources:
    """Return what a plan can take from a file.

    Raises
    ------
    PlanRefused
        Where a raw key outside the prefix is also a name inside of it: which of the two is meant is not known.
    """
    if not view.outside:
        return Sources(layout_of(checkpoint, view), view.keys)
    twice = [key for key in view.outside if key in view.keys]
    if twice:
        reason = f"source|stands outside {view.prefix!a} too, so that two tensors have this name"
        raise PlanRefused(
            f"{spell_count(len(twice), 'name', 'stands', 'stand')} inside and outside of {view.prefix!a}, as {twice[0]!a}",
            where=checkpoint.path,
            fix="save the one that is meant without the other",
            leftovers=tuple((key, reason) for key in twice),
        )
    outside = {key: checkpoint.tensors[key].spec for key in view.outside}
    return Sources({**layout_of(checkpoint, view), **outside}, {**view.keys, **{key: key for key in view.outside}})


def plan_source(checkpoint: Checkpoint, view: View, *, state_dict: str | None = None) -> PlanEnd:
    """Return the end of a plan that a file is, names of no known class; raises as `sources_of_view` does."""
    layout = sources_of_view(checkpoint, view).layout
    return PlanEnd(layout, prefix=view.prefix, lacks=view.lacks, inner=view.inner, state_dict=state_dict)


def route_to_class(source: PlanEnd, view: View, inference: Inference) -> Route:
    """Return the way of a file's tensors to today's layout of a class in a known configuration."""
    name, today = inference.architecture.name, inference.architecture.generations[-1].name
    target = PlanEnd(
        inference.architecture.layout(inference.config), class_name=name, generation=today, config=inference.config
    )
    return Route(source, target, outside=view.outside, dropped=view.dropped, inference=inference)


def known_plan(checkpoint: Checkpoint, view: View, inference: Inference, *, state_dict: str | None = None) -> Plan:
    """Return the total plan of a file whose class and generation are known.

    Parameters
    ----------
    checkpoint, view, inference
        The set of weights, how it is seen, and what it is.
    state_dict : str, optional
        Its address, where the file holds several.

    Raises
    ------
    PlanRefused
        Where there is none, with every leftover and its reason.
    """
    layout = sources_of_view(checkpoint, view).layout
    if len(layout) > MOST_REMEMBERED:
        return _known_plan(layout, view, inference, state_dict)
    # the answer holds the inference, so that no other one has its id as long as the answer is kept
    seen_as = (view.prefix, view.outside, view.inner, view.lacks, view.dropped)
    question = (id(inference), (*layout.items(),), seen_as, state_dict)
    return _recent_plans.answer(question, lambda: (inference, _known_plan(layout, view, inference, state_dict)))[1]


_recent_plans: Final = RecentAnswers(most=64)


def _known_plan(layout: Layout, view: View, inference: Inference, state_dict: str | None) -> Plan:
    name, today = inference.architecture.name, inference.architecture.generations[-1]
    source = PlanEnd(
        layout,
        class_name=name,
        generation=inference.generation.name,
        config=inference.config,
        prefix=view.prefix,
        lacks=view.lacks,
        inner=view.inner,
        state_dict=state_dict,
    )
    outside = frozenset(view.outside)
    here = {tensor: spec for tensor, spec in layout.items() if tensor not in outside}
    # a file that has today's layout to the last name, shape and dtype spares computing it again
    same = inference.generation is today and not (inference.retyped or inference.reordered or inference.uncounted)
    needed = here if same else inference.architecture.layout(inference.config)
    target = PlanEnd(needed, class_name=name, generation=today.name, config=inference.config)
    if same and not outside and not today.to_today:
        return plan_without_changes(source, target, loses=today.loses)
    route = Route(source, target, outside=view.outside, dropped=view.dropped, inference=inference)
    return route.plan(rows_to_today(here, inference))


def infer_plan(
    route: Route, *, hints: tuple[str, ...] = (), trial: PlanTrial | None = None, where: str = ""
) -> InferredPlan:
    """Infer the plan between two layouts whose names nobody has matched.

    Parameters
    ----------
    route : Route
        The two layouts, and what is known of the way between them.
    hints : tuple[str, ...], optional
        ``OLD=NEW`` patterns.
    trial : Callable[[Plan], bool], optional
        Tries the alternatives that are left.
    where : str, optional
        The file, for error messages.

    Raises
    ------
    PlanRefused
        Where something is undecided or left over: every alternative is listed.
    UsageError
        Where a hint fits nothing or contradicts.

    Examples
    --------
    >>> w, b = TensorSpec((3, 2)), TensorSpec((3,))
    >>> inference = infer_plan(Route(PlanEnd({"net.w": w, "net.b": b}), PlanEnd({"head.w": w, "head.b": b})))
    >>> [(row.source, row.target) for row in inference.plan.operations]
    [('net.w', 'head.w'), ('net.b', 'head.b')]
    """
    from viscy_compat.matching.pairs import try_alternatives, why_not_total
    from viscy_compat.matching.renames import find_renames

    _refuse_parametrisations(route, where)
    matching = find_renames(route.here, route.there, hints=hints)
    if not matching.total and trial is not None:
        matching = try_alternatives(matching, lambda candidate: trial(_plan_of_matching(route, candidate)))
    if not matching.total:
        raise PlanRefused(
            f"no total plan: {why_not_total(matching)}",
            where=where,
            fix="; ".join(_ways_out(matching)),
            leftovers=tuple(_leftovers(matching)),
        )
    return InferredPlan(_plan_of_matching(route, matching), {pair.target: pair.ground for pair in matching.matches})


def plan_back(checkpoint: Checkpoint, view: View, inference: Inference, generation: Generation) -> Plan:
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
    name, older = inference.architecture.name, generation.layout(inference.config)
    before = PlanEnd(older, class_name=name, generation=generation.name, config=inference.config)
    today = PlanEnd(layout_of(checkpoint, view), class_name=name, generation=inference.generation.name)
    return inverse_of(
        Route(before, today).plan(generation.to_today(older) if generation.to_today else identity_rows(older))
    )


def rows_to_today(layout: Layout, inference: Inference) -> tuple[Operation, ...]:
    """Return the rows from a layout to today's; what a missing batch counter would have become is filled."""
    whole = {**layout, **{name: TensorSpec((), "int64") for name in inference.uncounted}}
    rows = inference.generation.to_today(whole) if inference.generation.to_today else identity_rows(whole)
    # rows are made for the whole layout, and those whose source is missing filled: a row may rename a counter
    gaps = set(inference.uncounted)
    return tuple(
        Fill(targets_of(row)[0], shape=(), dtype="int64", value=0, reason=COUNTER) if gaps & {*sources_of(row)} else row
        for row in rows
    )


def unmade_by(layout: Layout, inference: Inference) -> tuple[str, ...]:
    """Return the names of today's layout that no row of the file's generation makes."""
    if not inference.generation.to_today:
        return ()
    targets = {name for row in rows_to_today(layout, inference) for name in targets_of(row)}
    return tuple(name for name in inference.architecture.layout(inference.config) if name not in targets)


def fills_counters_alone(plan: Plan) -> bool:
    """Whether a plan changes nothing but that it adds batch counters, as torch does on its own.

    Examples
    --------
    >>> end = PlanEnd({"w": TensorSpec((2,))})
    >>> fills_counters_alone(plan_of(end, end, identity_rows(end.layout)))
    True
    """
    return all(isinstance(row, Fill) and row.reason == COUNTER for row in plan.changes)


def _plan_of_matching(route: Route, matching: Matching) -> Plan:
    """Return the plan that a total answer gives: to the generation's names, and on to today's."""
    rows = matching.operations()
    if route.inference is None:
        return route.plan(rows)
    later = rows_to_today(route.there, route.inference)
    moves = {row.source: row.target for row in later if isinstance(row, Rename)}
    rows_on: list[Operation] = []
    for row in rows:
        # a name of the generation goes on to what it is today; one that has none there keeps its own
        if isinstance(row, Drop):
            rows_on.append(row)
        elif isinstance(row, Split):
            rows_on.append(row._replace(targets=tuple(moves.get(name, name) for name in row.targets)))
        else:
            rows_on.append(cast("Operation", row._replace(target=moves.get(row.target, row.target))))
    return route.plan([*rows_on, *(row for row in later if isinstance(row, Fill))])


def _refuse_parametrisations(route: Route, where: str) -> None:
    """Refuse weights that are computed from several tensors: no rename makes the plain ones of them."""
    from viscy_compat.plans.parametrisations import find_parametrisations

    # what the user drops may be half of a parametrised weight: the other half alone is no plain weight either
    inside = {name.removeprefix(route.source.prefix): name for name in route.dropped}
    targets = {*route.there, *inside}
    layout = {**route.here, **{name: route.source.layout[raw] for name, raw in inside.items()}}
    parts = [part for part in find_parametrisations(layout) if not targets & {*part.tensors}]
    if not parts:
        return
    kinds = " and ".join(dict.fromkeys(part.kind.name for part in parts))
    tensors = in_short(name for part in parts for name in part.tensors)
    raise PlanRefused(
        f"no total plan: {kinds} on {in_short(part.module for part in parts)}, computed from {tensors}",
        where=where,
        fix=f"{parts[0].remedy}; --drop NAME leaves tensors out, and changes predictions",
        leftovers=tuple(
            (name, f"source|{part.kind.name}: {part.kind.formula}") for part in parts for name in part.tensors
        ),
    )


def _ways_out(matching: Matching) -> Iterator[str]:
    """Yield what may make a plan total: no hint and no outputs give a tensor a place that has another shape."""
    leftovers = matching.leftover_sources or matching.leftover_targets
    if matching.undecided:
        # outputs choose between plans, and while something is left over there is none
        outputs = "" if leftovers else ", or with outputs that you have: --expect IO.safetensors"
        yield f"settle it with --hint OLD=NEW{outputs}"
    if matching.leftover_targets:
        yield "another configuration (--set NAME=VALUE) or another file (--against FILE) may be what it fits"
    if matching.leftover_sources:
        # what has no place computes something, so leaving it out must be stated
        yield "--drop NAME leaves a tensor out, and changes predictions"


def _leftovers(matching: Matching) -> Iterator[tuple[str, str]]:
    """Yield every tensor that has no certain place, with its alternatives."""
    for group in matching.undecided:
        sources = " or ".join(member[0] for member in group.sources[:_MOST_SOURCES])
        for member in group.targets:
            yield member[0], f"target|undecided between {sources}: {group.why}"
    yield from ((name, "source|the target has nothing of its shape") for name in matching.leftover_sources)
    yield from ((name, "target|the file has nothing of its shape") for name in matching.leftover_targets)
