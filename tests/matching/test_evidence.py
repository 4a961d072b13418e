"""What names say of tensors that shapes cannot tell apart: each ground by itself, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from viscy_compat.matching.evidence import Pairing, Theory, Unit, pair_by_names, shared_words, translate
from viscy_compat.matching.name_tree import Interner, grow

KNOWN, SHUFFLED, SORTED = Theory(), Theory("shuffled"), Theory("sorted")


def tensors(names: Sequence[str], interner: Interner) -> list[Unit]:
    """Units of one profile: tensors of equal shape, in the order of the file, by their whole names."""
    root = grow(names, dict.fromkeys(names, 0), interner)
    return [Unit(leaf, leaf.path) for leaf in sorted(root.leaves(), key=lambda leaf: leaf.first)]


def modules(names: Sequence[str], interner: Interner) -> list[Unit]:
    """The children of the root, whose names inside may differ."""
    root = grow(names, dict.fromkeys(names, 0), interner)
    return [Unit(child, child.path) for child in root.children]


def paired(here: Sequence[str], there: Sequence[str], theory: Theory = KNOWN) -> tuple[dict[str, str], set[str]]:
    """What is paired with what, and on what grounds."""
    interner = Interner()
    return _answer(tensors(here, interner), tensors(there, interner), theory)


def _answer(mine: list[Unit], theirs: list[Unit], theory: Theory) -> tuple[dict[str, str], set[str]]:
    found: list[Pairing] = pair_by_names(mine, theirs, theory)
    pairs = {".".join(mine[one.here].label): ".".join(theirs[one.there].label) for one in found}
    return pairs, {one.ground for one in found}


@pytest.mark.parametrize(
    ("here", "there", "pairs", "ground"),
    [
        (["a", "b"], ["a", "b"], {"a": "a", "b": "b"}, "same name"),
        (["n.gamma", "n.beta"], ["n.weight", "n.bias"], {"n.gamma": "n.weight", "n.beta": "n.bias"}, "known synonym"),
        (
            ["enc.attn.x", "enc.mlp.x"],
            ["e.attn.y", "e.mlp.y"],
            {"enc.attn.x": "e.attn.y", "enc.mlp.x": "e.mlp.y"},
            "shared parts",
        ),
        (["up1", "up2"], ["up.1", "up.2"], {"up1": "up.1", "up2": "up.2"}, "same numbers"),
        (["up1", "up2"], ["up.0", "up.1"], {"up1": "up.0", "up2": "up.1"}, "numbering in order"),
        (
            ["up.0.0", "up.0.1", "up.1.0"],
            ["up.0", "up.1", "up.2"],
            {"up.0.0": "up.0", "up.0.1": "up.1", "up.1.0": "up.2"},
            "numbering in order",
        ),
        (["a.attn.p", "a.norm.q"], ["b.norm2.x", "b.attn.y"], {}, None),
        (
            ["q.w", "k.w", "v.w"],
            ["query.w", "key.w", "value.w"],
            {"q.w": "query.w", "k.w": "key.w", "v.w": "value.w"},
            "similar words",
        ),
        (["ka", "xu"], ["mi", "re"], {}, None),
    ],
)
def test_each_ground_pairs_what_it_can(
    here: list[str], there: list[str], pairs: dict[str, str], ground: str | None
) -> None:
    assert paired(here, there) == (pairs, {ground} if ground else set())


def test_names_that_stand_at_other_places_are_not_believed_where_order_is_known() -> None:
    assert paired(["a", "b"], ["b", "a"]) == ({}, set())
    assert paired(["a", "b", "c"], ["b", "a", "c"]) == ({"c": "c"}, {"same name"})
    for theory in (SHUFFLED, SORTED):
        assert paired(["a", "b"], ["b", "a"], theory) == ({"a": "a", "b": "b"}, {"same name"})


def test_learned_words_count_where_the_order_is_not_shuffled() -> None:
    learned = Theory("sorted", {"enc": "encoder", "dec": "decoder"})
    names = ["enc.x.p", "dec.x.p"], ["encoder.x.p", "decoder.x.p"]
    assert paired(*names, learned)[1] == {"learned parts"}
    assert paired(*names, learned._replace(order="shuffled"))[1] == {"shared parts"}
    assert paired(*names, Theory("shuffled")) == ({}, set())


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (["up1", "up2"], ["up.0", "up.1"]),
        (["q.w", "k.w"], ["query.w", "key.w"]),
        (["a.attn.x", "a.y"], ["b.attn.z", "b.u"]),
    ],
)
def test_in_a_shuffled_file_neither_numbers_nor_lone_words_nor_beginnings_count(
    here: list[str], there: list[str]
) -> None:
    assert paired(here, there)[0]
    assert paired(here, there, SHUFFLED) == ({}, set())


def test_words_that_begin_alike_need_the_order_and_are_compared_only_in_small_classes() -> None:
    here, there = ["q.w", "k.w"], ["query.w", "key.w"]
    assert paired(here, there, SORTED) == ({}, set())
    # two candidates for one word
    assert paired(["q.w", "k.w"], ["query.w", "quite.w"]) == ({}, set())
    letters = "abcdefghijklmnopq"
    assert len(paired([f"{one}.w" for one in letters[:16]], [f"{one}{one}.w" for one in letters[:16]])[0]) == 16
    assert paired([f"{one}.w" for one in letters], [f"{one}{one}.w" for one in letters]) == ({}, set())


def test_numbers_say_nothing_of_tensors_that_share_no_word() -> None:
    assert paired(["p0", "p1"], ["q.0", "q.1"]) == ({}, set())


def test_numbers_that_branch_otherwise_do_not_pair() -> None:
    assert paired(["up.0.0", "up.0.1", "up.1.0", "up.1.1"], ["up.0.5", "up.3.0", "up.3.1", "up.3.2"]) == ({}, set())
    # of unequal depth on one side: what is a column is not known
    assert paired(["up.0", "up.1.2"], ["up.5", "up.6"]) == ({}, set())


def test_sides_of_unequal_number_pair_only_by_whole_labels_of_one_kind() -> None:
    assert paired(["a", "b", "c"], ["a", "c"]) == ({"a": "a", "c": "c"}, {"same name"})
    assert paired(["a", "c"], ["a", "b", "c"]) == ({"a": "a", "c": "c"}, {"same name"})
    assert paired(["a", "b", "c"], ["a", "x"]) == ({}, set())
    # which of the numbered ones is missing is not said
    assert paired(["up.0", "up.1", "up.2", "a"], ["up.0", "up.1", "a"]) == ({"a": "a"}, {"same name"})
    # they stand in another order
    assert paired(["a", "b", "c"], ["c", "a"]) == ({}, set())
    assert paired(["a", "b", "c"], ["c", "a"], SORTED)[0] == {"a": "a", "c": "c"}


def test_modules_are_told_apart_by_the_names_inside() -> None:
    interner = Interner()
    here = modules(["x.w", "x.b", "y.g", "y.h"], interner)
    there = modules(["p.w", "p.b", "q.g", "q.h"], interner)
    assert _answer(here, there, Theory()) == ({"x": "p", "y": "q"}, {"same inside"})
    crossed = modules(["q.g", "q.h", "p.w", "p.b"], interner)
    assert _answer(here, crossed, Theory())[0] == {"x": "p", "y": "q"}


def test_labels_that_the_names_inside_dispute_are_dropped() -> None:
    interner = Interner()
    here = modules(["x.w", "x.b", "y.g", "y.h", "z.w", "z.b"], interner)
    there = modules(["x.g", "x.h", "y.w", "y.b", "z.w", "z.b"], interner)
    assert _answer(here, there, Theory()) == ({"z": "z"}, {"same name"})


def test_several_modules_of_one_inside_are_paired_among_themselves() -> None:
    interner = Interner()
    here = modules(["up1.w", "up1.b", "up2.w", "up2.b", "x.g", "x.h"], interner)
    there = modules(["up.w", "up.b", "down.w", "down.b", "y.g", "y.h"], interner)
    assert _answer(here, there, Theory()) == ({"x": "y"}, {"same inside"})
    numbered = modules(["level1.w", "level1.b", "level2.w", "level2.b", "y.g", "y.h"], interner)
    assert _answer(here, numbered, Theory()) == ({"up1": "level1", "up2": "level2", "x": "y"}, {"same inside"})


def test_labels_share_whole_words_and_are_written_with_learned_parts() -> None:
    assert shared_words(("downsample_layers", "1"), ("stages", "1", "downsample")) == {"downsample"}
    assert shared_words(("down",), ("downsample",)) == set()
    assert translate(("a", "b", "a"), {"a": "x"}) == ("x", "b", "x")
    assert translate(("a", "b"), {}) == ("a", "b")


@pytest.mark.parametrize(
    ("order", "registered"), [("registered", True), ("frayed", True), ("sorted", False), ("shuffled", False)]
)
def test_a_frayed_order_is_still_that_of_registration(order: str, registered: bool) -> None:
    assert Theory(order).is_registered is registered  # type: ignore[arg-type]
