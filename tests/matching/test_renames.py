"""The inference of renames, on the layouts of our own classes and on small layouts where each ground stands alone."""

from __future__ import annotations

import pytest

from support.historical_pairs import old_generations
from support.model_layouts import our_layouts
from support.refactorings import FAMILIES, Refactoring, graded, refactorings
from viscy_compat.errors import PlanRefused, UsageError
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.matching.pairs import Matching
from viscy_compat.matching.renames import find_renames

FLAT, WIDE, CONV = TensorSpec((4,)), TensorSpec((6, 4)), TensorSpec((4, 3, 3, 3))


def layout(**shapes: tuple[int, ...]) -> Layout:
    return {name.replace("__", "."): TensorSpec(shape) for name, shape in shapes.items()}


def named(*names: str, spec: TensorSpec = FLAT) -> Layout:
    return dict.fromkeys(names, spec)


def pairs(answer: Matching) -> dict[str, str]:
    return {pair.source: pair.target for pair in answer.matches}


def cases() -> list[Refactoring]:
    return [case for target in our_layouts().values() for case in refactorings(target)]


@pytest.mark.uncounted
def test_no_pair_of_any_family_over_our_classes_is_wrong_and_what_names_or_structure_decide_is_right() -> None:
    grades = [(case, graded(find_renames(case.source, case.target), case)) for case in cases()]

    assert len(grades) >= 150
    assert {case.family for case, _ in grades} >= FAMILIES.keys() - {"flattened Sequential"}
    assert [case.family for case, grade in grades if grade == "WRONG"] == []
    decidable = [(case.family, grade) for case, grade in grades if case.decides in ("names", "structure")]
    assert [family for family, grade in decidable if grade != "correct"] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.family) for case in old_generations()])
def test_the_renames_of_another_generation_are_found_although_a_file_may_lack_layers(case: Refactoring) -> None:
    answer = find_renames(case.source, case.target)

    assert pairs(answer) == {source: target for target, source in case.truth.items()}
    # where the file lacks layers, their tensors are left over; a form that only renames leaves nothing
    assert answer.total == ({*case.truth} == {*case.target})


def test_exchanged_names_of_twins_are_refused_with_both_alternatives() -> None:
    old = named("a.weight", "a.bias", "b.weight", "b.bias")
    new = named("b.weight", "b.bias", "a.weight", "a.bias")

    answer = find_renames(old, new)

    assert not answer.matches
    assert answer.undecided[0].sources == (("a.weight", "a.bias"), ("b.weight", "b.bias"))
    assert answer.undecided[0].targets == (("b.weight", "b.bias"), ("a.weight", "a.bias"))


def test_a_sibling_that_kept_both_name_and_place_is_decided_beside_exchanged_ones() -> None:
    answer = find_renames(named("a", "b", "c"), named("b", "a", "c"))

    assert pairs(answer) == {"c": "c"}


def test_backward_numbering_is_refused_and_forward_numbering_from_one_is_not() -> None:
    target = {f"blocks.{i}.{leaf}": FLAT for i in range(3) for leaf in ("weight", "bias")}
    backward = {f"blocks.{2 - i}.{leaf}": FLAT for i in range(3) for leaf in ("weight", "bias")}
    shifted = {f"blocks_{i + 1}.{leaf}": FLAT for i in range(3) for leaf in ("weight", "bias")}

    assert "blocks.2.weight" not in pairs(find_renames(backward, target))
    assert find_renames(shifted, target).total


def test_numbers_alone_do_not_say_which_block_is_missing() -> None:
    seven = {f"blocks.{i}.weight": FLAT for i in range(7)}
    six = {f"blocks.{i}.weight": FLAT for i in range(6)}

    assert not find_renames(seven, six).matches
    assert not find_renames(six, seven).matches


def test_numbers_say_nothing_where_no_word_says_what_is_numbered() -> None:
    assert not find_renames(
        named("p0", "p1", "p2"), named("blocks.0.norm.weight", "blocks.1.norm.weight", "blocks.2.norm.weight")
    ).matches


def test_shapes_overrule_names_that_lie() -> None:
    old = {"a.weight": WIDE, "b.weight": CONV}
    new = {"b.weight": WIDE, "a.weight": CONV}

    assert pairs(find_renames(old, new)) == {"a.weight": "b.weight", "b.weight": "a.weight"}


def test_where_names_and_modules_contradict_each_other_the_tensors_that_both_have_are_refused() -> None:
    old = {"a.weight": WIDE, "a.bias": FLAT, "b.weight": CONV, "b.bias": FLAT}
    new = {"b.weight": WIDE, "b.bias": FLAT, "a.weight": CONV, "a.bias": FLAT}

    assert set(pairs(find_renames(old, new))) == {"a.weight", "b.weight"}


def test_a_module_that_moved_is_followed_by_its_name() -> None:
    """The order of registration speaks against it: names and structure together overrule it."""
    old, new = {}, {}
    for stage in (1, 2):
        old[f"down.{stage}.norm.weight"] = old[f"down.{stage}.norm.bias"] = TensorSpec((4 + stage,))
    for stage in (1, 2):
        for name, spec in (("conv.weight", TensorSpec((4 + stage, 3, 7))), ("conv.bias", TensorSpec((4 + stage,)))):
            old[f"stages.{stage}.{name}"] = new[f"stages.{stage}.block.{name}"] = spec
        new[f"stages.{stage}.down.norm.weight"] = new[f"stages.{stage}.down.norm.bias"] = TensorSpec((4 + stage,))

    answer = find_renames(old, new)

    assert answer.total
    assert all(("down" in source) == ("down" in target) for source, target in pairs(answer).items())


def test_a_prefix_that_two_copies_share_equally_decides_nothing() -> None:
    inner = named("a.weight", "b.weight")
    twice = {f"{who}.{name}": spec for who in ("student", "teacher") for name, spec in inner.items()}

    assert not find_renames(twice, inner).matches


def test_a_hint_settles_what_is_refused() -> None:
    old, new = named("x.weight", "y.weight"), named("p.weight", "q.weight")

    assert find_renames(old, new).undecided
    assert pairs(find_renames(old, new, hints=["x=q"])) == {"x.weight": "q.weight", "y.weight": "p.weight"}


def test_a_hint_may_count_and_holds_for_whole_modules() -> None:
    old = {f"stages_{i}.{leaf}": FLAT for i in range(3) for leaf in ("u", "v")}
    new = {f"stage.{i + 1}.{leaf}": FLAT for i in range(3) for leaf in ("u", "v")}

    answer = find_renames(old, new, hints=["stages_{i}=stage.{i+1}"])

    assert pairs(answer) == {f"stages_{i}.{leaf}": f"stage.{i + 1}.{leaf}" for i in range(3) for leaf in "uv"}


def test_a_hint_with_nothing_behind_the_sign_drops_what_carries_no_weights() -> None:
    source = {**named("a.weight"), "aux.num_batches_tracked": TensorSpec((), "int64")}
    answer = find_renames(source, named("a.weight"), hints=["aux="])

    (drop,) = answer.drops
    assert drop.source == "aux.num_batches_tracked"
    assert drop.reason.startswith("a hint drops it; it counts the training batches")
    assert not drop.changes_predictions
    assert answer.total


def test_a_hint_never_drops_what_computes() -> None:
    with pytest.raises(PlanRefused, match=r"aux\.weight: .* computes something; --drop aux\.weight"):
        find_renames(named("a.weight", "aux.weight"), named("a.weight"), hints=["aux="])


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("nothing", "OLD=NEW"),
        ("=b", "OLD=NEW"),
        ("zzz=b", "no tensor or module of the file"),
        ("weight=b", "no tensor or module of the file"),
        ("a=zzz", "the target has no"),
        ("a.{i}=b", "no tensor or module of the file"),
        ("a=b.{i}", "lacks"),
        ("a{=b", "braces"),
        ("a.weight=b.bias", "cannot become"),
        ("a=b.weight", "one is a tensor"),
    ],
)
def test_a_hint_that_cannot_be_meant_is_an_error(hint: str, said: str) -> None:
    old = {"a.weight": WIDE, "a.bias": FLAT}
    new = {"b.weight": WIDE, "b.bias": FLAT}

    with pytest.raises(UsageError, match=said):
        find_renames(old, new, hints=[hint])


def test_hints_that_contradict_each_other_are_an_error() -> None:
    old, new = named("a.w", "b.w"), named("c.w", "d.w")

    with pytest.raises(UsageError, match="elsewhere"):
        find_renames(old, new, hints=["a=c", "a=d"])
    with pytest.raises(UsageError, match="two tensors or modules"):
        find_renames(old, new, hints=["a=c", "b=c"])


def test_a_square_matrix_beside_transposed_ones_is_refused_and_has_two_alternatives() -> None:
    square = TensorSpec((5, 5))

    answer = find_renames({"a.weight": WIDE, "b.weight": square}, {"a.weight": TensorSpec((4, 6)), "b.weight": square})

    assert pairs(answer) == {"a.weight": "a.weight"}
    assert [candidate.matches[1].change for candidate in answer.alternatives()] == ["none", "transpose"]


def test_two_matrices_whose_shapes_mirror_each_other_are_not_crossed_when_both_were_transposed() -> None:
    tall = TensorSpec((4, 6))

    answer = find_renames({"up.weight": WIDE, "down.weight": tall}, {"up.weight": tall, "down.weight": WIDE})

    assert {(pair.source, pair.target, pair.change) for pair in answer.matches} == {
        ("up.weight", "up.weight", "transpose"),
        ("down.weight", "down.weight", "transpose"),
    }


def test_counters_of_batches_go_where_their_layer_goes() -> None:
    count = TensorSpec((), "int64")
    old = {"x.weight": FLAT, "x.num_batches_tracked": count, "y.weight": WIDE, "y.num_batches_tracked": count}
    new = {"b.weight": WIDE, "b.num_batches_tracked": count, "a.weight": FLAT, "a.num_batches_tracked": count}

    assert pairs(find_renames(old, new))["x.num_batches_tracked"] == "a.num_batches_tracked"


def test_a_missing_layer_weakens_what_only_shapes_say() -> None:
    """Without the premise that the file holds everything, a lone shape of another name proves nothing."""
    old = {"first.weight": CONV, "zeta.weight": WIDE}
    new = {"first.weight": CONV, "eta.weight": WIDE, "fresh.weight": TensorSpec((9, 9, 9))}

    assert pairs(find_renames(old, new)) == {"first.weight": "first.weight"}
    assert pairs(find_renames(old, {name: new[name] for name in ("first.weight", "eta.weight")})) == {
        "first.weight": "first.weight",
        "zeta.weight": "eta.weight",
    }


def test_a_tensor_named_like_a_module_is_no_obstacle() -> None:
    both = {"a": FLAT, "a.b": WIDE, "": CONV, "..": TensorSpec((7,))}

    assert pairs(find_renames(both, both)) == {name: name for name in both}


def test_names_of_ten_thousand_parts_cost_no_more_than_others() -> None:
    deep = ".".join(["a"] * 10_000)

    assert find_renames({deep: FLAT, "b": WIDE}, {deep: FLAT, "b": WIDE}).total
