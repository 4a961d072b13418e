"""Names become trees of parts; labels become words and numbers; the order of a file is worth what it shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from viscy_compat.matching import name_tree
from viscy_compat.matching.name_tree import (
    Interner,
    NameTreeNode,
    grow,
    heart,
    order_state,
    part_tokens,
    parts_of,
    tokens,
    torn_modules,
)


def tree(names: Sequence[str]) -> NameTreeNode:
    return grow(names, dict.fromkeys(names, 0), Interner())


@pytest.mark.parametrize(
    ("part", "split"),
    [
        ("", ()),
        ("weight", ("weight",)),
        ("layer10_norm", ("layer", 10, "norm")),
        ("fc1", ("fc", 1)),
        ("convBlock", ("conv", "Block")),
        ("ConvBlock", ("Conv", "Block")),
        ("MLP", ("MLP",)),
        ("__a--b c", ("a", "b", "c")),
        ("007", (7,)),
        ("123456789", (123456789,)),
        ("1234567890", ("1234567890",)),
        ("²", ("²",)),
        ("größe", ("größe",)),
    ],
)
def test_a_part_is_split_between_letters_digits_and_cases(part: str, split: tuple[str | int, ...]) -> None:
    assert part_tokens(part) == split
    assert tokens((part, "x2")) == (*split, "x", 2)


def test_what_is_remembered_of_strangers_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: dict[str, tuple[object, ...]] = {f"stranger{place}": (place,) for place in range(65537)}
    monkeypatch.setattr(name_tree, "_SPLIT", remembered)
    assert part_tokens("one2") == ("one", 2)
    assert remembered == {"one2": ("one", 2)}


def test_a_tree_sums_up_what_is_below() -> None:
    interner = Interner()
    keys = {"a.x.w": 0, "a.x.b": 1, "c": 1, "a.y.w": 0, "a.y.b": 1}
    root = grow(keys, keys, interner)
    assert [(child.path, child.name, child.size) for child in root.children] == [(("a",), None, 4), (("c",), "c", 1)]
    assert (root.size, root.shapes, root.tails) == (5, {0: 2, 1: 3}, {("w", 0): 2, ("b", 1): 2, ("c", 1): 1})
    a = root.children[0]
    x, y = a.children
    assert (a.first, a.last, y.first, y.last) == (0, 4, 3, 4)
    assert (x.profile, x.inside, x.kin) == (y.profile, y.inside, y.kin)
    assert [leaf.name for leaf in root.leaves()] == ["a.x.w", "a.x.b", "a.y.w", "a.y.b", "c"]


def test_equal_counts_of_other_names_have_one_profile_and_not_one_inside() -> None:
    interner = Interner()
    one, other = (grow(keys, keys, interner) for keys in ({"w": 0, "b": 1}, {"u": 0, "v": 1}))
    assert one.profile == other.profile
    assert (one.inside != other.inside, one.kin != other.kin) == (True, True)
    swapped = grow({"w": 1, "b": 0}, {"w": 1, "b": 0}, interner)
    assert (swapped.profile == one.profile, swapped.inside != one.inside) == (True, True)


def test_a_name_has_as_many_parts_as_an_honest_one() -> None:
    assert parts_of("a..b") == ("a", "", "b")
    assert len(parts_of("." * 200)) == 65
    assert parts_of(".".join("x" * 100))[-1] == ".".join("x" * 36)


def test_the_heart_is_where_ways_part() -> None:
    assert heart(tree(["a.b.w", "a.b.v"])).path == ("a", "b")
    assert heart(tree(["a.b.w"])).path == ("a", "b", "w")
    assert heart(tree(["a.w", "b.w"])).path == ()


LAYERS = [f"{layer}.{leaf}" for layer in "abc" for leaf in ("weight", "bias")]


@pytest.mark.parametrize(
    ("names", "state"),
    [
        (LAYERS, "registered"),
        (sorted(LAYERS), "sorted"),
        # two layers with their bias first may be somebody's own way
        (sorted(LAYERS[:4]), "registered"),
        (["c.bias", "c.weight", "a.bias", "a.weight", "b.bias", "b.weight"], "registered"),
        ([f"blocks.{place}.w" for place in range(12)], "registered"),
        (sorted(f"{kind}.{place}.w" for kind in "abc" for place in range(12)), "sorted"),
        ([*LAYERS[::2], *LAYERS[1::2]], "shuffled"),
        ([*LAYERS[:1], "z.q", "z.r", *LAYERS[1:]], "frayed"),
        ([], "registered"),
    ],
)
def test_the_order_of_a_file_is_worth_what_it_shows(names: list[str], state: str) -> None:
    assert order_state(tree(names)) == state


def test_modules_whose_tensors_stand_apart_are_torn() -> None:
    assert torn_modules(tree(LAYERS)) == set()
    assert torn_modules(tree(["a.w", "b.w", "a.b", "c.w", "c.b"])) == {("a",)}
    assert torn_modules(tree(["m.a.w", "x", "m.a.b"])) == {("m", "a")}
