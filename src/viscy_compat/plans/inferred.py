"""Plans for files whose names nobody wrote down: inferred by `viscy_compat.matching.renames`, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import View
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, fold, printable
from viscy_compat.matching.pairs import Matching, settle, why_not_total
from viscy_compat.matching.renames import match
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Drop, Fill, Operation, Rename, Split
from viscy_compat.plans.dropping import drop_of, losses_of
from viscy_compat.plans.making import OUTSIDE, rows_to_today
from viscy_compat.plans.parametrisations import find_parametrisations
from viscy_compat.plans.plan import Plan, PlanEnd, plan_of

PlanTrial = Callable[[Plan], bool]
"""Says whether a candidate plan gives the outputs that the user expects."""


_SHOWN = 4


class Inferred(NamedTuple):
    """An inferred plan, and on what ground each target tensor has its source."""

    plan: Plan
    grounds: Mapping[str, str]


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
    found : Inference, optional
        The class, generation and configuration, where they are known.
    """

    source: PlanEnd
    target: PlanEnd
    outside: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    found: Inference | None = None

    @property
    def here(self) -> Layout:
        """The tensors that are looked for a place."""
        return {name: spec for name, spec in self.source.layout.items() if name not in self.outside}

    @property
    def there(self) -> Layout:
        """The layout whose names are looked for: that of the file's generation, where it is known."""
        return self.found.written if self.found else self.target.layout

    def plan(self, matching: Matching) -> Plan:
        """Return the plan that a total answer gives; raises `PlanRefused` where there is none."""
        loses = self.found.generation.loses if self.found else ()
        rows = [*self._whole(matching.operations()), *self._drops()]
        return plan_of(self.source, self.target, rows, loses=(*loses, *losses_of(rows)))

    def _drops(self) -> Iterator[Drop]:
        for name in self.outside:
            yield drop_of(name, self.source.layout[name]) if name in self.dropped else Drop(name, OUTSIDE)

    def _whole(self, rows: tuple[Operation, ...]) -> Iterator[Operation]:
        later = rows_to_today(self.there, self.found) if self.found else ()
        moves = {row.source: row.target for row in later if isinstance(row, Rename)}
        yield from (_moved(row, moves) for row in rows) if self.found else rows
        yield from (row for row in later if isinstance(row, Fill))


def route_to_class(source: PlanEnd, view: View, found: Inference) -> Route:
    """Return the way of a file's tensors to today's layout of a class in a known configuration."""
    name, today = found.architecture.name, found.architecture.generations[-1].name
    return Route(
        source,
        PlanEnd(found.architecture.layout(found.config), name, today, found.config),
        view.outside,
        view.dropped,
        found,
    )


def infer_plan(
    way: Route, *, hints: tuple[str, ...] = (), settler: PlanTrial | None = None, where: str = ""
) -> Inferred:
    """Infer the plan between two layouts.

    Parameters
    ----------
    way : Route
        The two layouts, and what is known of the way between them.
    hints : tuple[str, ...], optional
        ``OLD=NEW`` patterns.
    settler : Callable[[Plan], bool], optional
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
    >>> from viscy_compat.layout import TensorSpec
    >>> w, b = TensorSpec((3, 2)), TensorSpec((3,))
    >>> found = infer_plan(Route(PlanEnd({"net.w": w, "net.b": b}), PlanEnd({"head.w": w, "head.b": b})))
    >>> [(row.source, row.target) for row in found.plan.operations]
    [('net.w', 'head.w'), ('net.b', 'head.b')]
    """
    _refuse_parametrised(way, where)
    found = match(way.here, way.there, hints=hints)
    if not found.total and settler is not None:
        found = settle(found, lambda candidate: settler(way.plan(candidate)))
    if not found.total:
        raise PlanRefused(
            f"no total plan: {why_not_total(found)}",
            where=where,
            fix=_way_out(found),
            leftovers=tuple(_leftovers(found)),
        )
    return Inferred(way.plan(found), {pair.target: pair.ground for pair in found.matches})


def _refuse_parametrised(way: Route, where: str) -> None:
    """Refuse weights that are computed from several tensors: no rename makes the plain ones of them."""
    inside = {name.removeprefix(way.source.prefix): name for name in way.dropped}
    settled = {*way.there, *inside}
    layout = {**way.here, **{name: way.source.layout[raw] for name, raw in inside.items()}}
    parts = [part for part in find_parametrisations(layout) if not settled & {*part.tensors}]
    if not parts:
        return
    shown = fold(name for part in parts for name in part.tensors)
    kinds = " and ".join(dict.fromkeys(part.kind.name for part in parts))
    raise PlanRefused(
        f"no total plan: {kinds} on {', '.join(fold(part.module for part in parts)[:_SHOWN])}, "
        f"computed from {printable(', '.join(shown[:_SHOWN]))}{', ...' if len(shown) > _SHOWN else ''}",
        where=where,
        fix=f"{parts[0].remedy}; --drop NAME leaves tensors out, and changes predictions",
        leftovers=tuple(
            (name, f"source|{part.kind.name}: {part.kind.formula}") for part in parts for name in part.tensors
        ),
    )


def _way_out(found: Matching) -> str:
    """Say what can settle a matching; what has no place computes something, so leaving it out must be stated."""
    ways = "settle it with --hint OLD=NEW, or with outputs that you have: --expect IO.safetensors"
    return f"{ways}; --drop NAME leaves a tensor out, and changes predictions" if found.leftover_sources else ways


def _moved(row: Operation, moves: Mapping[str, str]) -> Operation:
    """Return a row with the names that its targets have today; one that has none there keeps its own."""
    if isinstance(row, Drop):
        return row
    if isinstance(row, Split):
        return row._replace(targets=tuple(moves.get(name, name) for name in row.targets))
    return cast(Operation, row._replace(target=moves.get(row.target, row.target)))


def _leftovers(found: Matching) -> Iterator[tuple[str, str]]:
    """Yield every tensor that has no certain place, with its alternatives."""
    for refusal in found.refusals:
        sources = " or ".join(member[0] for member in refusal.sources[:6])
        for member in refusal.targets:
            yield member[0], f"target|undecided between {sources}: {refusal.why}"
    yield from ((name, "source|the target has nothing of its shape") for name in found.leftover_sources)
    yield from ((name, "target|the file has nothing of its shape") for name in found.leftover_targets)
