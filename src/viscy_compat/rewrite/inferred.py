"""Plans for files whose names nobody wrote down: inferred by `viscy_compat.migration.match`, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Architecture, Config, complete
from viscy_compat.architectures.inference import nearest
from viscy_compat.errors import PlanRefused, Unbuildable, UsageError
from viscy_compat.layout import Layout
from viscy_compat.migration.match import match
from viscy_compat.migration.matching import Matching, settle, why_not_total
from viscy_compat.migration.plan import Plan, Side, plan_of
from viscy_compat.named import NamedTuple

Settler = Callable[[Plan], bool]
"""Says whether a candidate plan gives the outputs that the user expects."""


class Inferred(NamedTuple):
    """An inferred plan, and on what ground each target tensor has its source."""

    plan: Plan
    grounds: Mapping[str, str]


def infer_plan(
    source: Side, target: Side, *, hints: tuple[str, ...] = (), settler: Settler | None = None, where: str = ""
) -> Inferred:
    """Infer the plan between two layouts.

    Parameters
    ----------
    source, target : Side
        The layout of the file, and the one that is wanted.
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
    >>> found = infer_plan(Side({"net.w": w, "net.b": b}), Side({"head.w": w, "head.b": b}))
    >>> [(row.source, row.target) for row in found.plan.operations]
    [('net.w', 'head.w'), ('net.b', 'head.b')]
    """
    found = match(source.layout, target.layout, hints=hints)
    if not found.total and settler is not None:
        found = settle(found, lambda candidate: settler(plan_of(source, target, candidate.operations())))
    if not found.total:
        raise PlanRefused(
            f"no total plan: {why_not_total(found)}",
            where=where,
            fix="settle it with --hint OLD=NEW (OLD= drops), or with outputs that you have: --expect IO.safetensors",
            leftovers=tuple(_leftovers(found)),
        )
    plan = plan_of(source, target, found.operations())
    return Inferred(plan, {pair.target: pair.ground for pair in found.matches})


def target_side(name: str, layout: Layout, stated: Mapping[str, Any], *, where: str) -> Side:
    """Return the layout of a class in the configuration whose shapes come nearest to those of a file.

    Raises
    ------
    PlanRefused
        Where several configurations with different layouts come equally near.
    UsageError
        Where the class, or an argument of it, is not known.
    """
    architecture = find(name)
    _refuse_unknown(architecture, stated)
    shapes = Counter(spec.shape for spec in layout.values())
    sides = list(_sides(architecture, layout, stated))
    misses = [_distance(shapes, side.layout) for side in sides]
    best = [side for side, missed in zip(sides, misses, strict=True) if missed == min(misses)]
    if not best:
        raise PlanRefused(f"no configuration of {name} can be built as stated", where=where, fix="correct --set")
    if any(side.layout != best[0].layout for side in best):
        given = " or ".join(str(dict(side.config)) for side in best[:3])
        raise PlanRefused(
            f"several configurations of {name} come equally near: {given}", where=where, fix="state one with --set"
        )
    return best[0]


def _sides(architecture: Architecture, layout: Layout, stated: Mapping[str, Any]) -> Iterator[Side]:
    """Yield the layouts of configurations that a file may have: its nearest one, the defaults, every known case."""
    near = nearest(layout, architecture.name)
    guesses: list[Config] = [near.config] if near else []
    guesses += [{}, *(case.config for case in architecture.cases), *(row.config for row in architecture.published)]
    for guess in guesses:
        config = complete(architecture, {**guess, **stated})
        if all(argument.name in config for argument in architecture.arguments):
            try:
                found = architecture.layout(config)
            except Unbuildable:
                continue
            yield Side(found, architecture.name, architecture.generations[-1].name, config)


def _distance(shapes: Counter[tuple[int, ...]], layout: Layout) -> int:
    """Count the tensors whose shape the other side does not have."""
    wanted = Counter(spec.shape for spec in layout.values())
    return (shapes - wanted).total() + (wanted - shapes).total()


def _refuse_unknown(architecture: Architecture, stated: Mapping[str, Any]) -> None:
    names = [argument.name for argument in architecture.arguments]
    for name in stated:
        if name not in names:
            raise UsageError(f"{architecture.name} has no argument {name}", fix=f"its arguments are {', '.join(names)}")


def _leftovers(found: Matching) -> Iterator[tuple[str, str]]:
    """Yield every tensor that has no certain place, with its alternatives."""
    for refusal in found.refusals:
        sources = " or ".join(member[0] for member in refusal.sources[:6])
        for member in refusal.targets:
            yield member[0], f"target|undecided between {sources}: {refusal.why}"
    yield from ((name, "source|the target has nothing of its shape") for name in found.leftover_sources)
    yield from ((name, "target|the file has nothing of its shape") for name in found.leftover_targets)
