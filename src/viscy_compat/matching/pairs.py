"""The answer of a match: decided pairs with their grounds, refusals with their alternatives, and the rows of a plan."""

from __future__ import annotations

from itertools import permutations
from math import perm, prod

from viscy_compat.annotations import Callable, Iterable, Iterator, Sequence
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec, in_short, printable, spell_count
from viscy_compat.matching.evidence import Ground
from viscy_compat.matching.name_tree import OrderState
from viscy_compat.matching.shapes import Change, harmless_reason, neutral_reason
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Drop, Fill, Operation, Rename, Reshape, Transpose, casts_exactly


class Match(NamedTuple):
    """One decided pair: which source tensor is which target tensor, how its shape changes, and on what ground."""

    source: str
    target: str
    ground: Ground
    change: Change = "none"


class UndecidedGroup(NamedTuple):
    """Tensors that could not be told apart, with all alternatives.

    Each member of ``sources`` and ``targets`` is the tensors of one module, which go together; any member of the one
    may be any of the other, tensor by tensor in the given order. ``orientation`` says that these are square matrices, of
    which only the orientation is open, for all of them alike.
    """

    sources: tuple[tuple[str, ...], ...]
    targets: tuple[tuple[str, ...], ...]
    why: str
    orientation: bool = False


class Matching(NamedTuple):
    """What is known about the way from one layout to another.

    Parameters
    ----------
    source, target : Layout
        The two layouts.
    matches : tuple[Match, ...]
        Decided pairs, in the order of the target.
    undecided : tuple[UndecidedGroup, ...]
        What could not be decided, with the alternatives.
    drops : tuple[Drop, ...]
        Source tensors without weights of their own that the target lacks, and those that a hint drops.
    fills : tuple[Fill, ...]
        Target tensors without weights of their own that the source lacks.
    leftover_sources, leftover_targets : tuple[str, ...]
        Tensors for which the other side has nothing of their shape.
    order : OrderState
        What the order of the two layouts was worth, the lesser of the two.
    """

    source: Layout
    target: Layout
    matches: tuple[Match, ...] = ()
    undecided: tuple[UndecidedGroup, ...] = ()
    drops: tuple[Drop, ...] = ()
    fills: tuple[Fill, ...] = ()
    leftover_sources: tuple[str, ...] = ()
    leftover_targets: tuple[str, ...] = ()
    order: OrderState = "registered"

    @property
    def total(self) -> bool:
        """Whether every tensor of both sides has its place."""
        return not (self.undecided or self.leftover_sources or self.leftover_targets)

    def operations(self) -> tuple[Operation, ...]:
        """Return the rows of a total plan.

        Raises
        ------
        PlanRefused
            If something is undecided or left over, or a tensor would need two operations or an inexact cast.
        """
        if not self.total:
            raise PlanRefused(why_not_total(self), fix="settle it with --hint OLD=NEW or --expect")
        moves = [_operation(pair, self.source[pair.source], self.target[pair.target]) for pair in self.matches]
        return (*moves, *self.drops, *self.fills)

    def alternatives(self) -> Iterator[Matching]:
        """Enumerate the total answers that the evidence leaves open, those in the order of both files first.

        Lazy: there are as many as the product of the arrangements of the refused groups. There are none where
        something is left over, or where a group has fewer sources than targets.
        """
        if self.leftover_sources or self.leftover_targets:
            return
        for choice in _choices(self.undecided):
            yield conclude(self.source, self.target, [*self.matches, *choice], drops=self.drops, order=self.order)

    @property
    def open_count(self) -> int:
        """How many total answers the evidence leaves open."""
        if self.leftover_sources or self.leftover_targets:
            return 0
        # a matrix is turned or not; else any choice of sources in any order
        return prod(
            2 if group.orientation else perm(len(group.sources), len(group.targets)) for group in self.undecided
        )


def try_alternatives(matching: Matching, try_candidate: Callable[[Matching], bool], *, limit: int = 64) -> Matching:
    """Try the alternatives that are left, and return the one that holds.

    Parameters
    ----------
    matching : Matching
        An answer with refusals.
    try_candidate : Callable[[Matching], bool]
        Says whether a total candidate gives the outputs that are expected.
    limit : int
        How many candidates are tried at most.

    Raises
    ------
    PlanRefused
        If there are more candidates than that, if none holds, or if several do: then the outputs do not decide.

    Examples
    --------
    >>> layouts = dict.fromkeys("ab", TensorSpec((4,))), dict.fromkeys("xy", TensorSpec((4,)))
    >>> left = Matching(*layouts, undecided=(UndecidedGroup((("a",), ("b",)), (("x",), ("y",)), "equal shapes"),))
    >>> crossed = try_alternatives(left, lambda candidate: candidate.matches[0].source == "b")
    >>> [(pair.source, pair.target, pair.ground) for pair in crossed.matches]
    [('b', 'x', 'outputs'), ('a', 'y', 'outputs')]
    """
    if matching.total:
        return matching
    count = matching.open_count
    if not 0 < count <= limit:
        amount = f"more than {spell_count(limit, 'candidate')}" if count else "no total candidate"
        raise PlanRefused(f"{amount}: {why_not_total(matching)}", fix="narrow them down with --hint OLD=NEW")
    winners = [candidate for candidate in matching.alternatives() if try_candidate(candidate)]
    if len(winners) != 1:
        amount = "none gives" if not winners else f"{len(winners)} give"
        raise PlanRefused(
            f"of {spell_count(count, 'candidate')} {amount} the expected outputs", fix="state one with --hint OLD=NEW"
        )
    return winners[0]


def why_not_total(matching: Matching) -> str:
    """Say in a line what keeps an answer from being total.

    Examples
    --------
    >>> why_not_total(Matching({}, {}, leftover_sources=("a.0", "a.1")))
    '2 tensors of the file without a place (a.{0..1})'
    """
    # the target's side: what is asked for is what the reader looks for
    names = [name for group in matching.undecided for member in group.targets for name in member]
    causes = (
        (names, "of the target undecided"),
        (matching.leftover_sources, "of the file without a place"),
        (matching.leftover_targets, "of the target without a source"),
    )
    return "; ".join(
        f"{spell_count(len(names), 'tensor')} {cause} ({in_short(names)})" for names, cause in causes if names
    )


def conclude(
    source: Layout,
    target: Layout,
    matches: Iterable[Match],
    *,
    undecided: Sequence[UndecidedGroup] = (),
    drops: Sequence[Drop] = (),
    order: OrderState = "registered",
) -> Matching:
    """Complete decided pairs by what goes with them, and account for the rest.

    Parameters
    ----------
    source, target : Layout
        The two layouts.
    matches : Iterable[Match]
        Decided pairs; those of tensors without weights of their own may be missing.
    undecided : Sequence[UndecidedGroup]
        What is undecided.
    drops : Sequence[Drop]
        Source tensors that are known to have no place.
    order : OrderState
        What the order of the layouts was worth.

    Examples
    --------
    >>> flat, count = TensorSpec((4,)), TensorSpec((), "int64")
    >>> old = {"bn.weight": flat, "bn.num_batches_tracked": count}
    >>> new = {"norm.weight": flat, "norm.num_batches_tracked": count}
    >>> [pair.target for pair in conclude(old, new, [Match("bn.weight", "norm.weight", "hint")]).matches]
    ['norm.weight', 'norm.num_batches_tracked']
    """
    pairs = {pair.target: pair for pair in matches}
    # what is undecided is neither free to be paired nor left over
    open_here = {name for group in undecided for member in group.sources for name in member}
    open_there = {name for group in undecided for member in group.targets for name in member}
    _add_companions(source, target, pairs, open_there)
    used_names = {pair.source for pair in pairs.values()} | {drop.source for drop in drops} | open_here
    rest = [name for name in source if name not in used_names]
    gaps = [name for name in target if name not in pairs and name not in open_there]
    fills = [_fill(name, target[name]) for name in gaps if neutral_reason(name, target[name])]
    idle = [Drop(name, reason) for name in rest if (reason := _idle(name, source[name]))]
    return Matching(
        source,
        target=target,
        matches=tuple(pairs[name] for name in target if name in pairs),
        undecided=tuple(undecided),
        drops=(*drops, *idle),
        fills=tuple(fills),
        leftover_sources=tuple(name for name in rest if not _idle(name, source[name])),
        leftover_targets=tuple(name for name in gaps if not neutral_reason(name, target[name])),
        order=order,
    )


def _idle(name: str, spec: TensorSpec) -> str:
    reason = harmless_reason(name, spec)
    return f"the target has none, and it {reason}" if reason else ""


def _fill(name: str, spec: TensorSpec) -> Fill:
    return Fill(
        name,
        shape=spec.shape,
        dtype=spec.dtype,
        value=0.0,
        reason=f"the file has none, and it {neutral_reason(name, spec)}",
    )


def _add_companions(source: Layout, target: Layout, pairs: dict[str, Match], open_there: set[str]) -> None:
    """Pair tensors without weights of their own where their layers are paired."""
    layers: dict[str, set[str]] = {}
    for pair in pairs.values():
        layers.setdefault(pair.target.rpartition(".")[0], set()).add(pair.source.rpartition(".")[0])
    used_names = {pair.source for pair in pairs.values()}
    for name, spec in target.items():
        layer, _, last = name.rpartition(".")
        if name in pairs or name in open_there or not neutral_reason(name, spec):
            continue
        for candidate in (f"{old}.{last}" if old else last for old in layers.get(layer, ())):
            # a layer that was put together of two has no counter of its own
            if len(layers[layer]) == 1 and candidate in source and candidate not in used_names:
                pairs[name] = Match(candidate, name, "goes with its layer")


def _operation(pair: Match, spec: TensorSpec, target: TensorSpec) -> Operation:
    casts = spec.dtype != target.dtype
    if casts and not casts_exactly(spec.dtype, target.dtype, spec.shape):
        raise PlanRefused(f"no exact way from {spec.dtype} to {target.dtype}", where=printable(pair.source))
    # a plan has one operation for each tensor
    if casts and pair.change != "none":
        raise PlanRefused(
            f"{pair.change} and cast at once", where=printable(pair.source), fix="save it in float32 first"
        )
    if casts:
        return Cast(pair.source, pair.target, target.dtype)
    if pair.change == "transpose":
        return Transpose(pair.source, pair.target, (1, 0))
    return (
        Reshape(pair.source, pair.target, target.shape)
        if pair.change == "reshape"
        else Rename(pair.source, pair.target)
    )


def _choices(undecided: Sequence[UndecidedGroup]) -> Iterator[list[Match]]:
    """Combine the arrangements of all groups, one at a time."""
    if not undecided:
        yield []
        return
    for rest in _choices(undecided[1:]):
        # the first group varies fastest, and each starts in the order of both files
        for arrangement in _arrangements(undecided[0]):
            yield [*arrangement, *rest]


def _arrangements(group: UndecidedGroup) -> Iterator[list[Match]]:
    if group.orientation:
        for change in ("none", "transpose"):
            pairs = zip(group.sources[0], group.targets[0], strict=True)
            yield [Match(source, target=target, ground="outputs", change=change) for source, target in pairs]
        return
    for order in permutations(group.sources, len(group.targets)):
        yield [
            Match(source, target, "outputs")
            for member, place in zip(order, group.targets, strict=True)
            for source, target in zip(member, place, strict=True)
        ]
