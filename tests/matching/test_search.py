"""The search pairs what has no rival or what names single out, opens modules the largest first, and refuses the rest."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from viscy_compat.matching.evidence import Theory
from viscy_compat.matching.name_tree import Interner, Label, grow
from viscy_compat.matching.search import SearchResult, search, units_below

WHOLE, PARTIAL = Theory(), Theory(total=False)
Keys = Mapping[str, int]
"""The shape key of each name, in the order of the file."""


def found(
    here: Keys, there: Keys, theory: Theory = WHOLE, *, base_here: Label = (), base_there: Label = ()
) -> SearchResult:
    interner = Interner()
    mine, theirs = grow(here, here, interner), grow(there, there, interner)
    return search(units_below(mine, base_here), units_below(theirs, base_there), theory)


def pairs(outcome: SearchResult) -> dict[str, str]:
    return {pair.source: pair.target for pair in outcome.matches}


def grounds(outcome: SearchResult) -> dict[str, str]:
    return {pair.source: pair.ground for pair in outcome.matches}


def undecided(outcome: SearchResult) -> list[tuple[set[tuple[str, ...]], set[tuple[str, ...]]]]:
    return [({*group.sources}, {*group.targets}) for group in outcome.groups]


def test_the_only_one_of_its_shape_needs_no_name_where_the_file_is_whole() -> None:
    outcome = found({"ka": 0, "xu": 1}, {"mi": 0, "re": 1})
    assert pairs(outcome) == {"ka": "mi", "xu": "re"}
    assert set(grounds(outcome).values()) == {"the only one of its shape"}
    assert pairs(found({"ka": 0, "xu": 1}, {"mi": 0, "re": 1}, PARTIAL)) == {}


def test_the_same_name_is_the_better_ground() -> None:
    assert grounds(found({"a": 0, "b": 1}, {"a": 0, "c": 1})) == {
        "a": "same name",
        "b": "the only one of its shape",
    }


def test_modules_without_rivals_are_opened_together() -> None:
    here = {"net.x.w": 0, "net.x.b": 1, "out.w": 2, "out.b": 1}
    there = {"m.core.w": 0, "m.core.b": 1, "head.w": 2, "head.b": 1}
    assert pairs(found(here, there)) == {
        "net.x.w": "m.core.w",
        "net.x.b": "m.core.b",
        "out.w": "head.w",
        "out.b": "head.b",
    }


def test_twins_are_refused_whole_with_what_belongs_together() -> None:
    here = {f"{part}.{leaf}": key for part in ("ka", "xu") for key, leaf in enumerate(("w", "b"))}
    there = {f"{part}.{leaf}": key for part in ("mi", "re") for key, leaf in enumerate(("w", "b"))}
    outcome = found(here, there)
    assert outcome.matches == []
    assert undecided(outcome) == [({("ka.w", "ka.b"), ("xu.w", "xu.b")}, {("mi.w", "mi.b"), ("re.w", "re.b")})]
    (group,) = outcome.groups
    assert group.why == "equal inside, and neither names nor order tell them apart without contradiction"
    assert not group.orientation


def test_twins_whose_inside_cannot_be_told_apart_are_opened_and_refused_tensor_by_tensor() -> None:
    here = {f"{part}.{leaf}": 0 for part in ("ka", "xu") for leaf in ("p", "q")}
    there = {f"{part}.{leaf}": 0 for part in ("mi", "re") for leaf in ("s", "t")}
    outcome = found(here, there)
    assert outcome.matches == []
    ((sources, targets),) = undecided(outcome)
    assert (sources, targets) == ({(name,) for name in here}, {(name,) for name in there})
    assert outcome.groups[0].why == "equal shapes, and nothing else tells them apart"


def test_tensors_of_equal_shape_and_strange_names_are_refused_with_every_alternative() -> None:
    outcome = found({"ka": 0, "xu": 0, "lo": 1}, {"mi": 0, "re": 0, "do": 1})
    assert pairs(outcome) == {"lo": "do"}
    assert undecided(outcome) == [({("ka",), ("xu",)}, {("mi",), ("re",)})]


def test_what_only_one_side_has_is_neither_paired_nor_refused() -> None:
    outcome = found({"a": 0, "b": 1}, {"a": 0, "c": 2})
    assert (pairs(outcome), outcome.groups) == ({"a": "a"}, [])


def test_a_tensor_whose_name_is_in_another_module_waits_for_it() -> None:
    here = {"norm.w": 0, "norm.b": 0, "w": 0}
    there = {"inner.norm.w": 0, "inner.norm.b": 0, "w": 0}
    assert pairs(found(here, there)) == {"w": "w", "norm.w": "inner.norm.w", "norm.b": "inner.norm.b"}


def test_names_are_asked_for_where_the_target_has_more() -> None:
    here = {"first.w": 0, "last.w": 1}
    there = {"first.w": 0, "final.w": 1, "new.w": 2}
    assert pairs(found(here, there, PARTIAL)) == {"first.w": "first.w"}
    assert pairs(found(here, {**there, "last.w": 1, "final.w": 3}, PARTIAL)) == {
        "first.w": "first.w",
        "last.w": "last.w",
    }


def test_the_kind_of_a_parameter_is_no_shared_name() -> None:
    """`weight` says nothing of the layer: the rest of the label must."""
    here, there = {"ka.weight": 0}, {"mi.weight": 0, "new": 5}
    assert pairs(found(here, there, PARTIAL)) == {}
    stems = found({"stem.ka.weight": 0}, {"stem.mi.weight": 0, "new": 5}, PARTIAL)
    assert grounds(stems) == {"stem.ka.weight": "the only one of its shape"}


def test_a_base_is_read_without_and_what_stands_outside_is_not_mixed_with_it() -> None:
    here = {"model.a": 0, "model.b": 0, "loss.a": 1}
    there = {"a": 0, "b": 0}
    outcome = found(here, there, base_here=("model",))
    assert pairs(outcome) == {"model.a": "a", "model.b": "b"}
    assert set(grounds(outcome).values()) == {"same name"}
    turned = found(there, here, base_there=("model",))
    assert pairs(turned) == {"a": "model.a", "b": "model.b"}


def test_numbers_rise_together_over_a_container() -> None:
    here = {f"blocks.{place}.{leaf}": key for place in range(3) for key, leaf in enumerate(("w", "b"))}
    there = {f"stage.{place + 1}.{leaf}": key for place in range(3) for key, leaf in enumerate(("w", "b"))}
    expected = {name: f"stage.{int(name[7]) + 1}.{name[-1]}" for name in here}
    assert pairs(found(here, there)) == expected
    # the middle one keeps its place, and is the only one to do so
    backwards = {f"stage.{3 - place}.{leaf}": key for place in range(3) for key, leaf in enumerate(("w", "b"))}
    assert pairs(found(here, backwards)) == {"blocks.1.w": "stage.2.w", "blocks.1.b": "stage.2.b"}


def test_a_renamed_part_is_reported_for_the_next_pass() -> None:
    outcome = found({"enc.w": 0, "dec.w": 1}, {"encoder.w": 0, "decoder.w": 1})
    assert {("enc", "encoder"), ("dec", "decoder")} <= {*outcome.renames}


def test_words_of_the_theory_pair_where_order_and_counts_confirm_them() -> None:
    here, there = {"enc.w": 0, "old.w": 0}, {"new.w": 0, "encoder.w": 0}
    words = {"enc": "encoder", "old": "new"}
    assert pairs(found(here, there, Theory("sorted"))) == {}
    outcome = found(here, there, Theory("sorted", words))
    assert pairs(outcome) == {"enc.w": "encoder.w", "old.w": "new.w"}


@pytest.mark.parametrize("empty", ["here", "there", "both"])
def test_nothing_is_paired_with_nothing(empty: str) -> None:
    names = {"a": 0}
    outcome = found({} if empty != "there" else names, {} if empty != "here" else names)
    assert outcome == SearchResult([], [], [])


def test_a_chain_of_single_modules_is_walked_through() -> None:
    assert pairs(found({"a.b.c.w": 0, "a.b.c.b": 1}, {"w": 0, "b": 1})) == {"a.b.c.w": "w", "a.b.c.b": "b"}
