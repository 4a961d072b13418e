"""What names say about units that shapes cannot tell apart: which of them belong together, and on what ground.

A *unit* is a tensor or a module, named by its *label*: its path below the place where the search stands. Everything
here compares a few units of the source with as many of the target, all of one profile. What the names do not say is
left out of the answer; nothing is ever filled in by place alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

from viscy_compat.matching.name_tree import Label, NameTreeNode, OrderState, Token, tokens, words_of
from viscy_compat.named import NamedTuple

Ground = Literal[
    "same name",
    "same inside",
    "known synonym",
    "learned parts",
    "shared parts",
    "similar words",
    "same numbers",
    "numbering in order",
    "the only one of its shape",
    "the only place that fits",
    "hint",
    "goes with its layer",
    "outputs",
]
"""Why a pair is decided. The first words are the strongest: the same name below a matched module."""

_FEW = 16
"""How many units of one profile are compared each with each."""

_SYNONYMS = {
    "gamma": "weight",
    "scale": "weight",
    "kernel": "weight",
    "w": "weight",
    "beta": "bias",
    "shift": "bias",
    "offset": "bias",
    "b": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "moving_var": "running_var",
}
"""Last parts that frameworks use for the same parameter of a layer."""


class Unit(NamedTuple):
    """A tensor or a module, and its label where the search stands."""

    node: NameTreeNode
    label: Label


class Pairing(NamedTuple):
    """Two units that belong together, by their places in the two lists, and the ground for it."""

    here: int
    there: int
    ground: Ground


class Theory(NamedTuple):
    """What the search believes while it reads names.

    Parameters
    ----------
    order : OrderState
        The worth of the order, the lesser of the two sides.
    words : Mapping[str, str]
        Parts of source names that were found to be called otherwise in the target.
    total : bool
        Whether the source is believed to hold everything that the target asks for.
    """

    order: OrderState = "registered"
    words: Mapping[str, str] = {}
    total: bool = True

    @property
    def is_registered(self) -> bool:
        """Whether the order of both sides is that in which modules were registered."""
        return self.order in ("registered", "frayed")


def pair_by_names(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Pair as many units of a class as the names decide.

    Parameters
    ----------
    here, there : Sequence[Unit]
        Units of one profile, of the source and of the target.
    theory : Theory
        What is believed; where both orders are those of registration, a pair against the order is left out.

    Returns
    -------
    list[Pairing]
        Pairs that are right if names do not lie without a trace. Empty where they say nothing.
    """
    if len(here) != len(there):
        return _pair_uneven(here, there, theory)
    # the strongest evidence first; a weaker one is asked only where the stronger says nothing at all
    # labels may agree while the names inside, which are the same on both sides, say that each belongs to another one
    insides = Counter(unit.node.inside for unit in here) == Counter(unit.node.inside for unit in there)
    for step in (_same_labels, _same_words, _same_parts, _by_inside, _by_numbers, _by_single_parts, _by_affixes):
        pairings = [
            pair
            for pair in step(here, there, theory)
            if not insides or here[pair.here].node.inside == there[pair.there].node.inside
        ]
        if pairings:
            return pairings if not theory.is_registered else _in_order(pairings, here, there)
    return []


def shared_words(one: Label, other: Label) -> set[str]:
    """Return the words that two labels have in common.

    Examples
    --------
    >>> shared_words(("downsample_layers", "1"), ("stages", "1", "downsample"))
    {'downsample'}
    """
    return set(words_of(one)) & set(words_of(other))


def translate(label: Label, words: Mapping[str, str]) -> Label:
    """Write a source label with the parts that the target is known to use."""
    return tuple(words.get(part, part) for part in label) if words else label


def _in_order(pairings: list[Pairing], here: Sequence[Unit], there: Sequence[Unit]) -> list[Pairing]:
    """Keep the pairs that stand at the same place among their equals on both sides.

    Names that agree may lie: two siblings of equal shape may have exchanged their names. Where they did, the order in
    which they were registered stays, so that names and order contradict each other.
    """
    ranks, places = _ranks(here), _ranks(there)
    inside = any(pair.ground == "same inside" for pair in pairings)
    return pairings if inside else [pair for pair in pairings if ranks[pair.here] == places[pair.there]]


def _ranks(units: Sequence[Unit]) -> dict[int, int]:
    order = sorted(range(len(units)), key=lambda index: units[index].node.first)
    return {index: rank for rank, index in enumerate(order)}


def _pair_uneven(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Pair units of equal label where the sides differ in number, if the larger side has every label of the other.

    Numbers are not enough: which one of `blocks.0` to `blocks.6` is missing in `blocks.0` to `blocks.5` is not said.
    """
    places = {unit.label: index for index, unit in enumerate(there)}
    fewer, more = (here, there) if len(here) < len(there) else (there, here)
    if not {unit.label for unit in fewer} <= {unit.label for unit in more}:
        return []
    families = Counter(words_of(unit.label) for unit in more)
    same = [index for index, unit in enumerate(here) if unit.label in places]
    counterparts = [places[here[index].label] for index in same]
    if theory.is_registered and _sorted_by_place(same, here) != _sorted_by_place(counterparts, there, same):
        return []
    return [
        Pairing(index, place, "same name")
        for index, place in zip(same, counterparts, strict=True)
        if families[words_of(here[index].label)] == 1
    ]


def _sorted_by_place(indices: list[int], units: Sequence[Unit], names: list[int] | None = None) -> list[int]:
    """Order some units as they stand in the file; return them, or what they are called elsewhere."""
    pairs = zip(indices, names or indices, strict=True)
    return [name for _, name in sorted(pairs, key=lambda pair: units[pair[0]].node.first)]


def _same_labels(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    return _by_key(here, there, lambda unit: unit.label, lambda unit: unit.label, "same name")


def _same_words(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    pairings = _by_key(here, there, _canonical, _canonical, "known synonym")
    if pairings or not theory.words or theory.order == "shuffled":
        return pairings
    return _by_key(
        here, there, lambda unit: translate(unit.label, theory.words), lambda unit: unit.label, "learned parts"
    )


def _canonical(unit: Unit) -> Label:
    last = unit.label[-1] if unit.label else ""
    return (*unit.label[:-1], _SYNONYMS.get(last, last)) if unit.node.name is not None else unit.label


def _same_parts(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Compare what distinguishes the labels of each side among themselves."""
    mine = _distinctions([translate(unit.label, theory.words) for unit in here])
    theirs = _distinctions([unit.label for unit in there])
    depths = {len(numbers) for _, numbers in (*mine, *theirs)}
    # words that were renamed all at once: where order can confirm it, numbers alone may tell
    if theory.order != "shuffled" and set(mine) != set(theirs) and len(depths) == 1:
        mine, theirs = [((), numbers) for _, numbers in mine], [((), numbers) for _, numbers in theirs]
    if len(set(mine)) != len(mine) or set(mine) != set(theirs):
        return []
    # two rows of numbers fit each other in anything that is numbered: something else must say that they are
    # related
    wordless = not any(words for words, _ in mine)
    if wordless and not _are_related(here, there):
        return []
    places = {key: index for index, key in enumerate(theirs)}
    ground: Ground = "same numbers" if wordless else "shared parts"
    return [Pairing(index, places[key], ground) for index, key in enumerate(mine)]


def _are_related(here: Sequence[Unit], there: Sequence[Unit]) -> bool:
    """Whether numbers may be compared at all: the units are alike inside, or all their labels share a word."""
    if here[0].node.name is None and {unit.node.kin for unit in here} == {unit.node.kin for unit in there}:
        return True
    return bool(set.intersection(*(set(words_of(unit.label)) for unit in (*here, *there))))


def _by_inside(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Split a class by the names inside its units, and pair within each part."""
    kinds = Counter(unit.node.inside for unit in here)
    if len(kinds) == 1 or kinds != Counter(unit.node.inside for unit in there):
        return []
    pairings: list[Pairing] = []
    for kind in kinds:
        mine = [index for index, unit in enumerate(here) if unit.node.inside == kind]
        theirs = [index for index, unit in enumerate(there) if unit.node.inside == kind]
        pairings.extend(_within(mine, theirs, here, there, theory))
    return pairings


def _within(
    mine: list[int], theirs: list[int], here: Sequence[Unit], there: Sequence[Unit], theory: Theory
) -> list[Pairing]:
    if len(mine) == 1:
        return [Pairing(mine[0], theirs[0], "same inside")]
    inner = pair_by_names([here[index] for index in mine], [there[index] for index in theirs], theory)
    return [Pairing(mine[pair.here], theirs[pair.there], "same inside") for pair in inner]


def _by_numbers(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Pair by the order of numbers where the numbers differ: `stages_0` and `stage.1`, `0.1` and `3`."""
    mine = _distinctions([translate(unit.label, theory.words) for unit in here])
    theirs = _distinctions([unit.label for unit in there])
    kinds = Counter(words for words, _ in mine)
    distinct = len(set(mine)) == len(mine) and len(set(theirs)) == len(theirs)
    if theory.order == "shuffled" or not distinct or kinds != Counter(words for words, _ in theirs):
        return []
    if not _are_related(here, there):
        return []
    places = _places_by_number(mine, theirs)
    return [Pairing(index, place, "numbering in order") for index, place in places.items()]


def _places_by_number(mine: list[Key], theirs: list[Key]) -> dict[int, int]:
    """Map keys to keys in the order of their numbers: column by column, or as a whole where one side was flattened."""
    depths = {len(numbers) for _, numbers in mine}, {len(numbers) for _, numbers in theirs}
    if any(len(depth) != 1 for depth in depths):
        return {}
    if depths[0] == depths[1]:
        mine, theirs = _by_columns(mine), _by_columns(theirs)
        places = {key: index for index, key in enumerate(theirs)}
        return {index: places[key] for index, key in enumerate(mine)} if set(mine) == set(theirs) else {}
    mine_in_order, theirs_in_order = (
        sorted(range(len(mine)), key=mine.__getitem__),
        sorted(range(len(theirs)), key=theirs.__getitem__),
    )
    return dict(zip(mine_in_order, theirs_in_order, strict=True))


def _by_columns(keys: list[Key]) -> list[Key]:
    """Replace each number by its rank among those at the same place after the same numbers."""
    columns: dict[Key, set[int]] = {}
    for words, numbers in keys:
        for place, number in enumerate(numbers):
            columns.setdefault((words, numbers[:place]), set()).add(number)
    ranks = {
        (*prefix, number): rank for prefix, column in columns.items() for rank, number in enumerate(sorted(column))
    }
    return [
        (words, tuple(ranks[words, numbers[:place], number] for place, number in enumerate(numbers)))
        for words, numbers in keys
    ]


def _by_single_parts(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Pair by words that one unit of each side has and no other: `attn.norm` and `attention_norm` do not count."""
    if theory.order == "shuffled":
        return []
    mine, theirs = _holders(here, theory.words), _holders(there, {})
    votes = {(mine[token], theirs[token]) for token in mine.keys() & theirs.keys()}
    # -1 is a word of several units, which singles none out
    votes = {(one, other) for one, other in votes if one >= 0 and other >= 0}
    if len({one for one, _ in votes}) != len(votes) or len({other for _, other in votes}) != len(votes):
        return []
    # without an order to confirm it, a part of the answer may be chance
    if not theory.is_registered and len(votes) != len(here):
        return []
    return [Pairing(one, other, "shared parts") for one, other in sorted(votes)]


def _by_affixes(here: Sequence[Unit], there: Sequence[Unit], theory: Theory) -> list[Pairing]:
    """Pair by words that begin with each other, where each has one such partner: `q`, `k`, `v` and `query`, `key`, ...

    Only where the order of registration can confirm it.
    """
    # each with each: and words that merely begin alike need the order as a second witness
    if not theory.is_registered or len(here) > _FEW:
        return []
    mine = _distinctions([translate(unit.label, theory.words) for unit in here])
    theirs = _distinctions([unit.label for unit in there])
    partners = [[place for place, key in enumerate(theirs) if _begins(one, key)] for one in mine]
    if any(len(candidates) != 1 for candidates in partners) or len({candidates[0] for candidates in partners}) != len(
        theirs
    ):
        return []
    return [Pairing(index, candidates[0], "similar words") for index, candidates in enumerate(partners)]


def _begins(one: Key, other: Key) -> bool:
    if one[1] != other[1] or not one[0] or len(one[0]) != len(other[0]):
        return False
    return all(
        mine.startswith(theirs) or theirs.startswith(mine) for mine, theirs in zip(one[0], other[0], strict=True)
    )


def _holders(units: Sequence[Unit], words: Mapping[str, str]) -> dict[str, int]:
    """Map each word to the only unit that has it, or to -1 where several have it."""
    holders: dict[str, int] = {}
    for index, unit in enumerate(units):
        for word in set(words_of(translate(unit.label, words))):
            holders[word] = -1 if word in holders else index
    return holders


def _by_key(
    here: Sequence[Unit],
    there: Sequence[Unit],
    mine: Callable[[Unit], Hashable],
    theirs: Callable[[Unit], Hashable],
    ground: Ground,
) -> list[Pairing]:
    """Pair by keys where both sides have the same ones, each once."""
    keys_here = {mine(unit): index for index, unit in enumerate(here)}
    keys_there = {theirs(unit): index for index, unit in enumerate(there)}
    if len(keys_here) != len(here) or keys_here.keys() != keys_there.keys():
        return []
    return [Pairing(index, keys_there[key], ground) for key, index in keys_here.items()]


Key = tuple[tuple[str, ...], tuple[int, ...]]


def _distinctions(labels: Sequence[Label]) -> list[Key]:
    """Reduce labels to the words that not all of them have, and the numbers that are not the same in all."""
    split = [tokens(label) for label in labels]
    # what all labels share tells none of them apart
    common = set.intersection(*(set(_strings(one)) for one in split))
    numbers = [tuple(token for token in one if isinstance(token, int)) for one in split]
    if len({len(row) for row in numbers}) == 1:
        columns = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        numbers = [tuple(row) for row in zip(*columns, strict=True)] if columns else [()] * len(labels)
    words = [tuple(word for word in _strings(one) if word not in common) for one in split]
    return list(zip(words, numbers, strict=True))


def _strings(split: tuple[Token, ...]) -> list[str]:
    return [token for token in split if isinstance(token, str)]
