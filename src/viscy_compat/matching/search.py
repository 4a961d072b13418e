"""The search: two name trees, walked together from the root, split only where a split is justified.

A *context* is a set of source units and a set of target units of which is known that they hold the same tensors. Units
of one profile (the same counts of shape keys) are paired where names, the names inside, or the lack of any rival
justify it, and each pair becomes a context of its own. Where nothing more is justified, the largest units of both
sides are opened: what they knew about their members is given up, and their members stand in the context themselves.
At the end only tensors are left, and those that still have rivals are refused, all together, with the alternatives.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections import Counter

from viscy_compat.annotations import Iterator, Sequence
from viscy_compat.matching.evidence import Ground, Pairing, Theory, Unit, pair_by_names, shared_words, translate
from viscy_compat.matching.name_tree import Label, NameTreeNode, heart, tokens, words_of
from viscy_compat.matching.pairs import Match, UndecidedGroup
from viscy_compat.named import NamedTuple


class SearchResult(NamedTuple):
    """What a search found, and the renamed parts that it saw."""

    matches: list[Match]
    groups: list[UndecidedGroup]
    renames: list[tuple[str, str]]


Words = tuple[str, ...]
Numbers = tuple[int, ...]


class Context:
    """Source and target units that hold the same tensors, and what was decided among them."""

    __slots__ = ("here", "labels_here", "labels_there", "numbers", "there", "totals_here", "totals_there")

    def __init__(self, here: list[Unit], there: list[Unit]) -> None:
        self.here, self.there = here, there
        self.numbers: dict[tuple[Words, Words], list[tuple[Numbers, Numbers]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Count again what is left."""
        self.totals_here, self.totals_there = _totals(self.here), _totals(self.there)
        self.labels_here = {unit.label: unit for unit in self.here}
        self.labels_there = {unit.label: unit for unit in self.there}

    def remove(self, here: set[int], there: set[int]) -> None:
        """Take units out, by their places."""
        self.here = [unit for index, unit in enumerate(self.here) if index not in here]
        self.there = [unit for index, unit in enumerate(self.there) if index not in there]
        self.refresh()

    @property
    def is_open(self) -> bool:
        """Whether only tensors are left."""
        return all(unit.node.name is not None for unit in (*self.here, *self.there))

    def even(self, unit: Unit) -> bool:
        """Whether both sides have equally many tensors of every shape key of a unit."""
        return all(self.totals_here[key] == self.totals_there[key] for key in unit.node.shapes)

    def is_anchored(self, unit: Unit, members: int) -> bool:
        """Whether some shape key is found nowhere but in the units of one profile, of which each side has so many."""
        shapes = unit.node.shapes.items()
        return any(self.totals_here[key] == self.totals_there[key] == count * members for key, count in shapes)

    def is_closed(self, one: Unit, other: Unit) -> bool:
        """Whether no tensor outside the two units could be confused with one inside."""
        return all(self.totals_here[key] == count == self.totals_there[key] for key, count in one.node.shapes.items())


def _totals(units: Sequence[Unit]) -> Counter[int]:
    totals: Counter[int] = Counter()
    for unit in units:
        totals.update(unit.node.shapes)
    return totals


def search(here: list[Unit], there: list[Unit], theory: Theory) -> SearchResult:
    """Search for the pairs of two lists of units, which are all that the two sides have.

    Parameters
    ----------
    here, there : list[Unit]
        What stands below the roots of the source tree and of the target tree (`units_below`).
    theory : Theory
        What is believed about order, renamed parts and completeness.
    """
    outcome = SearchResult([], [], [])
    contexts = [Context(here, there)]
    while contexts:
        context = contexts.pop()
        while context.here and context.there:
            pairings = list(_decide(context, theory))
            if pairings:
                contexts.extend(_commit(context, pairings, outcome))
            # the largest first: a module that is opened gives up what is known of its members, so small ones stay closed
            elif not (_open_largest(context) or _set_aside(context, theory, outcome)):
                break
        # what both sides still have is undecided: to pair it by order would be a guess
        classes_there = _classes(context.there)
        for profile, mine in _classes(context.here).items():
            theirs = classes_there.get(profile, [])
            if theirs and context.here[mine[0]].node.name is not None:
                sources = tuple((context.here[index].node.name or "",) for index in mine)
                targets = tuple((context.there[index].node.name or "",) for index in theirs)
                why = "equal shapes, and nothing else tells them apart"
                outcome.groups.append(UndecidedGroup(sources, targets, why))
    return outcome


def units_below(root: NameTreeNode, base: Label = ()) -> list[Unit]:
    """List the units at a wrapper prefix, and those outside of it under a label that nothing else has.

    Parameters
    ----------
    root : NameTreeNode
        The root of a tree.
    base : Label
        The path of the module that is believed to be the model; labels below it are read without it.
    """
    units: list[Unit] = []
    node = root
    for depth in range(len(base)):
        inner = next(child for child in node.children if child.path == base[: depth + 1] and child.name is None)
        units.extend(Unit(heart(child), ("", *heart(child).path)) for child in node.children if child is not inner)
        node = inner
    return [*units, *_members(node, len(base))]


def _members(node: NameTreeNode, depth: int) -> list[Unit]:
    inner = heart(node)
    members = inner.children if inner.name is None else [inner]
    return [Unit(heart(child), heart(child).path[depth:]) for child in members]


def _decide(context: Context, theory: Theory) -> Iterator[Pairing]:
    classes_here, classes_there = _classes(context.here), _classes(context.there)
    for profile, mine in classes_here.items():
        theirs = classes_there.get(profile, [])
        # shapes first: where a profile stands once on either side, names need only not contradict
        if len(mine) == len(theirs) == 1:
            yield from _single(context, mine[0], theirs[0], theory)
        elif theirs:
            yield from _several(context, mine, theirs, theory)


def _classes(units: Sequence[Unit]) -> dict[int, list[int]]:
    classes: dict[int, list[int]] = {}
    for index, unit in enumerate(units):
        classes.setdefault(unit.node.profile, []).append(index)
    return classes


def _single(context: Context, here: int, there: int, theory: Theory) -> Iterator[Pairing]:
    """Pair the only two units of a profile, if they have no rivals, or if names or order rule the rivals out."""
    one, other = context.here[here], context.there[there]
    ground = _ground_of_single(one, other, context, theory)
    # closed: no tensor of these shapes stands anywhere else, so that nothing else could be meant
    if context.is_closed(one, other) and (theory.total or ground):
        alone: Ground = "the only one of its shape" if one.node.name is not None else "the only place that fits"
        yield Pairing(here, there, "same name" if ground == "same name" else alone)
    elif ground and not _is_claimed(context, one, other) and _orderly(context, one, other, theory):
        yield Pairing(here, there, ground)


def _ground_of_single(one: Unit, other: Unit, context: Context, theory: Theory) -> Ground | None:
    """Say what names have for a pair of units that are the only ones of their profile."""
    alike = one.node.name is None and one.node.inside == other.node.inside
    even = context.even(one)
    if one.label == other.label:
        return "same name" if even or alike or context.is_open else None
    names_tell = theory.total or _beyond_last(one, other) or any(child.name is None for child in one.node.children)
    if alike and names_tell and (even or context.is_anchored(one, 1)):
        return "same inside"
    # words alone are no witness where neither order nor counts can confirm them
    if theory.order == "shuffled" or not even:
        return None
    if translate(one.label, theory.words) == other.label:
        return "learned parts"
    if not theory.total and not _beyond_last(one, other):
        return None
    return "shared parts" if _tells_apart(context, one, other) else None


def _beyond_last(one: Unit, other: Unit) -> bool:
    """Whether two labels share more than the last part, which says only what kind of parameter a tensor is."""
    if one.node.name is None:
        return bool(shared_words(one.label, other.label))
    return bool(shared_words(one.label[:-1], other.label[:-1]))


def _tells_apart(context: Context, one: Unit, other: Unit) -> bool:
    """Whether two units have a word in common that their rivals lack, on one side at least.

    Rivals are all tensors of equal shape keys outside of the two, however deep.
    """
    common = shared_words(one.label, other.label)
    return bool(common) and bool(
        common - _rival_words(context.here, one) or common - _rival_words(context.there, other)
    )


def _rival_words(units: Sequence[Unit], one: Unit) -> set[str]:
    rivals = [unit for unit in units if unit.node is not one.node and unit.node.shapes.keys() & one.node.shapes.keys()]
    return {
        word
        for unit in rivals
        for leaf in unit.node.leaves()
        if leaf.shapes.keys() & one.node.shapes.keys()
        for word in words_of(unit.label + leaf.path[len(unit.node.path) :])
    }


def _is_claimed(context: Context, one: Unit, other: Unit) -> bool:
    """Whether a unit of another profile, with tensors of equal shape, bears the name of one of the two."""
    if one.label == other.label:
        return False
    rivals = (context.labels_there.get(one.label), context.labels_here.get(other.label))
    return any(
        rival.node.profile != one.node.profile and rival.node.shapes.keys() & one.node.shapes.keys()
        for rival in rivals
        if rival is not None
    )


def _orderly(context: Context, one: Unit, other: Unit, theory: Theory) -> bool:
    """Whether the order of registration, where it says anything, does not speak against a pair of units.

    It is overruled where structure and names agree against it: a module may have moved.
    """
    if not theory.is_registered or one.label == other.label or _tells_apart(context, one, other):
        return True
    return all(
        context.totals_here[key] != context.totals_there[key]
        or _ranks(context.here, one.node, key) == _ranks(context.there, other.node, key)
        for key in one.node.shapes
    )


def _ranks(units: Sequence[Unit], node: NameTreeNode, key: int) -> list[int]:
    """Count, for each tensor of a shape key below a node, how many of that key stand before it in the context."""
    places = sorted(leaf.first for unit in units for leaf in unit.node.leaves() if key in leaf.shapes)
    own = {leaf.first for leaf in node.leaves()}
    return [rank for rank, place in enumerate(places) if place in own]


def _several(context: Context, mine: list[int], theirs: list[int], theory: Theory) -> Iterator[Pairing]:
    here, there = [context.here[index] for index in mine], [context.there[index] for index in theirs]
    # asked once for all blocks of one name: each answer looks at every unit
    sequences: dict[tuple[Words, Words], bool] = {}
    even = len(mine) == len(theirs) and context.even(here[0])
    anchored = len(mine) == len(theirs) and context.is_anchored(here[0], len(mine))
    for pair in pair_by_names(here, there, theory):
        one, other = here[pair.here], there[pair.there]
        alike = one.node.name is None and one.node.inside == other.node.inside
        if not (even or (anchored and alike) or _named_alike(context, here, there, pair, alike)):
            continue
        if pair.ground == "numbering in order":
            key = (words_of(one.label), words_of(other.label))
            if key not in sequences:
                sequences[key] = _sequence(context.here, key[0]) == _sequence(context.there, key[1])
            # all that is numbered beside the two must follow in the same sequence of profiles
            if not sequences[key]:
                continue
        if _rises(context, one, other) and not _is_claimed(context, one, other):
            yield Pairing(mine[pair.here], theirs[pair.there], pair.ground)


def _named_alike(context: Context, here: list[Unit], there: list[Unit], pair: Pairing, alike: bool) -> bool:
    """Whether names carry a pair where the sides have unequal numbers of such tensors.

    A tensor waits until all modules are open: one that bears its name may be in one of them.
    """
    if here[pair.here].label != there[pair.there].label or not (alike or context.is_open):
        return False
    mine, theirs = {unit.label for unit in here}, {unit.label for unit in there}
    return theirs <= mine or (context.is_open and mine <= theirs)


def _sequence(units: Sequence[Unit], words: Words) -> list[int]:
    beside = [unit for unit in units if words_of(unit.label) == words]
    return [unit.node.profile for unit in sorted(beside, key=lambda unit: _numbers_in(unit.label))]


def _numbers_in(label: Label) -> Numbers:
    return tuple(token for token in tokens(label) if isinstance(token, int))


def _rises(context: Context, one: Unit, other: Unit) -> bool:
    """Whether the numbers of a pair rise together with those that were decided beside them."""
    pairs = context.numbers.get((words_of(one.label), words_of(other.label)), [])
    pair = (_numbers_in(one.label), _numbers_in(other.label))
    place = bisect(pairs, pair)
    # numbers may be shifted or stretched, but layers that were decided never change places with others
    after_lower = place == 0 or pairs[place - 1][1] <= pair[1]
    before_higher = place == len(pairs) or pair[1] <= pairs[place][1]
    return after_lower and before_higher


def _commit(context: Context, pairings: list[Pairing], outcome: SearchResult) -> Iterator[Context]:
    for here, there, ground in pairings:
        one, other = context.here[here], context.there[there]
        _remember(context, one, other, outcome)
        if one.node.name is not None and other.node.name is not None:
            outcome.matches.append(Match(one.node.name, other.node.name, ground))
        else:
            yield Context(_members(one.node, len(one.node.path)), _members(other.node, len(other.node.path)))
    context.remove({pair.here for pair in pairings}, {pair.there for pair in pairings})


def _remember(context: Context, one: Unit, other: Unit, outcome: SearchResult) -> None:
    if _numbers_in(one.label) and _numbers_in(other.label):
        key = (words_of(one.label), words_of(other.label))
        insort(context.numbers.setdefault(key, []), (_numbers_in(one.label), _numbers_in(other.label)))
    if len(one.label) == len(other.label):
        differing = [(mine, theirs) for mine, theirs in zip(one.label, other.label, strict=True) if mine != theirs]
        # with two parts changed at once nobody can say which became which
        outcome.renames.extend(differing if len(differing) == 1 else ())
        # what stays is evidence too: a word that became another one here and stays there is no rule
        outcome.renames.extend((part, part) for part in set(one.label) & set(other.label))


def _set_aside(context: Context, theory: Theory, outcome: SearchResult) -> bool:
    """Refuse modules that are alike inside as wholes, so that the alternatives stay few; else open them.

    Returns
    -------
    bool
        Whether there were any modules left.
    """
    for mine, theirs in _twins(context):
        group = _group([context.here[index] for index in mine], [context.there[index] for index in theirs], theory)
        if group:
            outcome.groups.append(group)
            context.remove(set(mine), set(theirs))
            return True
    return _open(context, [unit for unit in (*context.here, *context.there) if unit.node.name is None])


def _twins(context: Context) -> list[tuple[list[int], list[int]]]:
    """List the classes of modules, equally many on both sides, whose members are alike inside on each side."""
    classes_there = _classes(context.there)
    return [
        (mine, classes_there[profile])
        for profile, mine in _classes(context.here).items()
        if len(mine) == len(classes_there.get(profile, ())) > 1
        and _uniform([context.here[index] for index in mine])
        and _uniform([context.there[index] for index in classes_there[profile]])
        and context.even(context.here[mine[0]])
    ]


def _uniform(units: list[Unit]) -> bool:
    return units[0].node.name is None and len({unit.node.inside for unit in units}) == 1


def _group(here: list[Unit], there: list[Unit], theory: Theory) -> UndecidedGroup | None:
    """Return modules that are alike inside as one question; None where not even their insides are certain."""
    one, other = here[0].node, there[0].node
    # alike inside, so that what is true of the first two is true of all
    inner = search(_members(one, len(one.path)), _members(other, len(other.path)), theory)
    if inner.groups or len(inner.matches) != one.size:
        return None
    mine = [pair.source[len(".".join(one.path)) :] for pair in inner.matches]
    theirs = [pair.target[len(".".join(other.path)) :] for pair in inner.matches]
    return UndecidedGroup(
        tuple(tuple(".".join(unit.node.path) + tail for tail in mine) for unit in here),
        tuple(tuple(".".join(unit.node.path) + tail for tail in theirs) for unit in there),
        "equal inside, and neither names nor order tell them apart without contradiction",
    )


def _open_largest(context: Context) -> bool:
    """Open the largest modules of both sides, but for those that have twins; say whether there were any."""
    twins = _twins(context)
    twins_here = {index for mine, _ in twins for index in mine}
    twins_there = {index for _, theirs in twins for index in theirs}
    others = [unit for index, unit in enumerate(context.here) if index not in twins_here]
    others += [unit for index, unit in enumerate(context.there) if index not in twins_there]
    return _open(context, [unit for unit in others if unit.node.name is None])


def _open(context: Context, modules: list[Unit]) -> bool:
    """Open the largest of some modules, and all of their size; say whether there were any."""
    # all of one size at once: to open one of two equals would favour it
    size = max((unit.node.size for unit in modules), default=0)
    nodes = {id(unit.node) for unit in modules if unit.node.size == size}
    context.here = [member for unit in context.here for member in _members_or_self(unit, id(unit.node) in nodes)]
    context.there = [member for unit in context.there for member in _members_or_self(unit, id(unit.node) in nodes)]
    context.refresh()
    return bool(nodes)


def _members_or_self(unit: Unit, opens: bool) -> list[Unit]:
    if not opens:
        return [unit]
    return [Unit(heart(child), unit.label + heart(child).path[len(unit.node.path) :]) for child in unit.node.children]
