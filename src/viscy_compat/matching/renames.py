"""Renames that nobody wrote down: which tensor of a file is which of a target layout, or an honest refusal.

What decides a pair
-------------------
Two layouts show names, shapes, modules (what stands together under one dotted part) and the order of registration.
From these a pair is *decided*, and only then part of the answer, if one of these holds:

- It has no rival: within two modules (at the outset, the two files) that are known to hold the same tensors, it is the
  only one of its shape key on both sides. This rests on the premise that the source holds all that the target asks
  for; where that is visibly false, the names have to agree as well.
- Names single it out among its rivals: the same name below modules that belong together; the same parts besides those
  that all rivals share; a renamed part that was seen elsewhere where nothing else could be meant; the same number, or
  the same place in a numbering; the names inside a module; a known synonym (`gamma`, `weight`).

and no witness speaks against it:

- shapes always count for more than names;
- where both layouts stand in the order of registration, that order may veto names among modules or tensors of equal
  shape, and names may veto it: siblings that exchanged their names, or blocks numbered backwards, look the same as
  siblings registered in another order, and nothing but outputs tells these apart. So both are refused. Only structure
  and names together overrule the order (a module that moved);
- numbers must rise together over a whole container, and names inside must not contradict names outside.

Order never decides alone: tensors of equal shape are never paired by place. Names are trusted where no other witness
speaks (a shuffled or sorted file with crossed names cannot be known from its layout: it *is* the layout of the honest
file).
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Sequence
from viscy_compat.errors import PlanRefused, UsageError
from viscy_compat.layout import Layout, TensorSpec, printable
from viscy_compat.matching.evidence import Theory
from viscy_compat.matching.hints import place
from viscy_compat.matching.name_tree import (
    Interner,
    Label,
    NameTreeNode,
    OrderState,
    grow,
    order_state,
    parts_of,
    torn_modules,
)
from viscy_compat.matching.pairs import Match, Matching, UndecidedGroup, conclude
from viscy_compat.matching.prefixes import wrappers
from viscy_compat.matching.search import SearchResult, search, units_below
from viscy_compat.matching.shapes import change_between, harmless_reason, neutral_reason, shape_keys
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Drop


def find_renames(source: Layout, target: Layout, *, hints: Sequence[str] = ()) -> Matching:
    """Infer which source tensor is which target tensor; what cannot be decided is refused.

    Parameters
    ----------
    source : Layout
        The layout of the file, in its order.
    target : Layout
        The layout that is wanted, in its order.
    hints : Sequence[str]
        ``OLD=NEW`` patterns (`viscy_compat.matching.hints`), which settle what would be refused.

    Raises
    ------
    PlanRefused
        If a hint drops what is not known to be harmless.
    UsageError
        If a hint is malformed, fits nothing, or contradicts shapes or another hint.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> conv, norm = TensorSpec((8, 3, 3, 3)), TensorSpec((8,))
    >>> old = {"net.c.weight": conv, "net.c.bias": norm, "net.n1.weight": norm, "net.n2.weight": norm}
    >>> new = {"conv.weight": conv, "conv.bias": norm, "ln1.weight": norm, "ln2.weight": norm}
    >>> [(pair.source, pair.target, pair.ground) for pair in find_renames(old, new).matches][2:]
    [('net.n1.weight', 'ln1.weight', 'same numbers'), ('net.n2.weight', 'ln2.weight', 'same numbers')]
    >>> opaque = {"conv.weight": conv, "conv.bias": norm, "before.weight": norm, "after.weight": norm}
    >>> find_renames(old, opaque).undecided[0].targets
    (('before.weight',), ('after.weight',))
    >>> find_renames(old, opaque, hints=["net.n1=before"]).total
    True
    """
    problem = _pose(source, target, hints)
    outcome, order = _search_all(problem, total=True)
    names = {pair.target for pair in outcome.matches}
    names.update(name for group in outcome.groups for member in group.targets for name in member)
    short = any(len(group.targets) > len(group.sources) for group in outcome.groups)
    # "no rival" proves nothing where the source lacks some of what the target asks for: search again, names required
    if short or not names.issuperset(problem.keys_there):
        outcome, order = _search_all(problem, total=False)
    return _conclude(problem, outcome, order)


class _Problem(NamedTuple):
    """Two layouts, what hints say about them, and the sub-problems that remain: a pair of names lists each."""

    source: Layout
    target: Layout
    keys_here: dict[str, int]
    keys_there: dict[str, int]
    hints: list[Match]
    drops: list[Drop]
    parts: list[_Part]


class _Part(NamedTuple):
    """Names of both sides that belong together, below one module each."""

    here: list[str]
    there: list[str]
    base_here: Label
    base_there: Label


def _pose(source: Layout, target: Layout, hints: Sequence[str]) -> _Problem:
    moves = place(hints, _paths(source), frozenset(_paths(target))).moves if hints else {}
    owners_here = _owners(source, moves.keys())
    owners_there = _owners(target, {new for new in moves.values() if new})
    # a hint without NEW: its path goes to None
    names_to_drop = [name for name, owner in owners_here.items() if owner and not moves[owner]]
    drops = [_harmless_drop(name, source[name]) for name in names_to_drop]
    harmless = {drop.source for drop in drops}
    # what computes nothing takes no part: it would be a rival of nothing, and a leftover for no reason
    here = {n: s for n, s in source.items() if n not in harmless and not neutral_reason(n, s)}
    there = {name: spec for name, spec in target.items() if not neutral_reason(name, spec)}
    keys = shape_keys(here, there)
    rest = [name for name in here if not owners_here[name]], [name for name in there if not owners_there[name]]
    problem = _Problem(
        source,
        target=target,
        keys_here=keys.source,
        keys_there=keys.target,
        hints=[],
        drops=drops,
        parts=[_Part(*rest, (), ())],
    )
    for old, new in ((old, new) for old, new in moves.items() if new):
        part = _Part(
            [name for name in here if owners_here[name] == old],
            there=[name for name in there if owners_there[name] == new],
            base_here=parts_of(old),
            base_there=parts_of(new),
        )
        _pose_part(problem, part)
    return problem


def _harmless_drop(name: str, spec: TensorSpec) -> Drop:
    reason = harmless_reason(name, spec)
    if not reason:
        raise PlanRefused(
            "a hint drops only what carries no weights, and this computes something",
            where=printable(name),
            fix=f"--drop {printable(name)}, if the function may change",
        )
    return Drop(name, f"a hint drops it; it {reason}")


def _pose_part(problem: _Problem, part: _Part) -> None:
    """Take a hinted tensor as decided, and a hinted module as a search of its own."""
    old, new = ".".join(part.base_here), ".".join(part.base_there)
    if old in problem.source and new in problem.target:
        # a hint settles which of several it is; it makes no shape fit
        if change_between(problem.source[old], problem.target[new]) is None:
            raise UsageError(
                f"{printable(old)} {problem.source[old].shape} cannot become {printable(new)} {problem.target[new].shape}",
                where="--hint",
            )
        problem.hints.append(Match(old, new, "hint"))
    elif old in problem.source or new in problem.target:
        raise UsageError(f"{printable(old)} and {printable(new)}: one is a tensor, the other a module", where="--hint")
    else:
        problem.parts.append(part)


def _paths(layout: Layout) -> list[str]:
    """List every tensor and every module of a layout."""
    paths: dict[str, None] = {}
    for name in layout:
        parts = parts_of(name)
        paths.update((".".join(parts[:end]), None) for end in range(1, len(parts) + 1))
    return list(paths)


def _owners(layout: Layout, owners: Iterable[str]) -> dict[str, str]:
    """Map each tensor to the longest of some paths that it is at or below, or to an empty string."""
    paths = frozenset(owners)
    longest: dict[str, str] = {}
    for name in layout:
        path = name
        while path and path not in paths:
            path = path.rpartition(".")[0]
        longest[name] = path
    return longest


def _search_all(problem: _Problem, *, total: bool) -> tuple[SearchResult, OrderState]:
    whole = SearchResult(list(problem.hints), [], [])
    worst: OrderState = "registered"
    for part in problem.parts:
        outcome, order = _search_part(problem, part, total=total)
        whole.matches.extend(outcome.matches)
        whole.groups.extend(outcome.groups)
        worst = max(worst, order, key=_ORDERS.index)
    return whole, worst


_ORDERS: tuple[OrderState, ...] = ("registered", "frayed", "sorted", "shuffled")
"""From the one that proves most to the one that proves nothing; of two sides the worse one counts."""


def _search_part(problem: _Problem, part: _Part, *, total: bool) -> tuple[SearchResult, OrderState]:
    interner = Interner()
    here, there = grow(part.here, problem.keys_here, interner), grow(part.there, problem.keys_there, interner)
    order = max(order_state(here), order_state(there), key=_ORDERS.index)
    bases = _bases(problem, part)
    theory = Theory(order, {}, total)
    outcome = search(units_below(here, bases[0]), units_below(there, bases[1]), theory)
    # words that one pass learns may decide pairs that teach more; a pass costs as much as the first, so they are few
    for _ in range(3):
        words = _renamed_words(outcome)
        # nothing was learned, or nothing is left to decide
        if words == theory.words or not outcome.groups:
            break
        theory = theory._replace(words=words)
        outcome = search(units_below(here, bases[0]), units_below(there, bases[1]), theory)
    return _without_frayed(outcome, here, there, problem) if order == "frayed" else outcome, order


def _bases(problem: _Problem, part: _Part) -> tuple[Label, Label]:
    """Return the paths below which labels are read: those of a hint, or else wrapper prefixes."""
    if part.base_here or part.base_there:
        return part.base_here, part.base_there
    return wrappers(
        {name: problem.keys_here[name] for name in part.here}, {name: problem.keys_there[name] for name in part.there}
    )


def _renamed_words(outcome: SearchResult) -> dict[str, str]:
    """Keep the renamed parts that contradict no other: one name each way, everywhere."""
    images: dict[str, set[str]] = {}
    origins: dict[str, set[str]] = {}
    for old, new in outcome.renames:
        images.setdefault(old, set()).add(new)
        origins.setdefault(new, set()).add(old)
    return {
        old: next(iter(new))
        for old, new in images.items()
        # a part that stays, or has two translations anywhere, is no rule for the rest
        if len(new) == 1 and old not in new and len(origins[next(iter(new))]) == 1 and not old.isdigit()
    }


def _without_frayed(outcome: SearchResult, here: NameTreeNode, there: NameTreeNode, problem: _Problem) -> SearchResult:
    """Refuse tensors that stand apart from their module and, among those of their shape, at another place."""
    modules = torn_modules(here) | torn_modules(there)
    ranks, places = _ranks(here, problem.keys_here), _ranks(there, problem.keys_there)
    apart = {
        pair
        for pair in outcome.matches
        if ranks[pair.source] != places[pair.target]
        and (_module(pair.source) in modules or _module(pair.target) in modules)
    }
    groups = [UndecidedGroup(((pair.source,),), ((pair.target,),), "it stands apart from its module") for pair in apart]
    return SearchResult(
        [pair for pair in outcome.matches if pair not in apart], [*outcome.groups, *groups], outcome.renames
    )


def _module(name: str) -> Label:
    return parts_of(name)[:-1]


def _ranks(root: NameTreeNode, keys: dict[str, int]) -> dict[str, int]:
    """Number the tensors of each shape key in the order of the file."""
    counts: dict[int, int] = {}
    ranks: dict[str, int] = {}
    for leaf in sorted(root.leaves(), key=lambda leaf: leaf.first):
        name = leaf.name or ""
        ranks[name] = counts[keys[name]] = counts.get(keys[name], -1) + 1
    return ranks


def _conclude(problem: _Problem, outcome: SearchResult, order: OrderState) -> Matching:
    matches = [
        pair._replace(change=change)
        for pair in outcome.matches
        if (change := change_between(problem.source[pair.source], problem.target[pair.target])) is not None
    ]
    undecided = list(outcome.groups)
    # a square matrix looks the same turned: where others are turned, nobody can see whether it is; 1 x 1 is the same
    is_turned = any(pair.change == "transpose" for pair in matches)
    shapes = {pair.source: problem.source[pair.source].shape for pair in matches if is_turned}
    squares = [pair for pair in matches if len(shape := shapes.get(pair.source, ())) == 2 and shape[0] == shape[1] > 1]
    if squares:
        names = tuple(pair.source for pair in squares), tuple(pair.target for pair in squares)
        undecided.append(
            UndecidedGroup(
                (names[0],),
                targets=(names[1],),
                why="square, and other matrices of the file are transposed",
                orientation=True,
            )
        )
    pairs = [pair for pair in matches if pair not in squares]
    return conclude(problem.source, problem.target, pairs, undecided=undecided, drops=problem.drops, order=order)
