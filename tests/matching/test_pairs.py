"""The answer of a match: what goes with decided pairs, what is left over and why, its alternatives, and its rows."""

from __future__ import annotations

import pytest

from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.matching.pairs import Match, Matching, UndecidedGroup, conclude, try_alternatives, why_not_total
from viscy_compat.matching.renames import find_renames
from viscy_compat.operations import Cast, Drop, Fill, Rename, Reshape, Transpose

FLAT, WIDE, CONV = TensorSpec((4,)), TensorSpec((6, 4)), TensorSpec((4, 3, 3, 3))
COUNT = TensorSpec((), "int64")


def named(*names: str) -> Layout:
    return dict.fromkeys(names, FLAT)


def pairs(answer: Matching) -> dict[str, str]:
    return {pair.source: pair.target for pair in answer.matches}


def test_operations_name_what_happens_to_each_tensor() -> None:
    old = {
        "c.weight": CONV._replace(dtype="float16"),
        "l.weight": WIDE,
        "l.bias": TensorSpec((6, 1)),
        "bn.weight": TensorSpec((5,)),
        "old.num_batches_tracked": TensorSpec((), "int64"),
    }
    new = {
        "conv.weight": CONV,
        "lin.weight": TensorSpec((4, 6)),
        "lin.bias": TensorSpec((6,)),
        "norm.weight": TensorSpec((5,)),
        "norm.num_batches_tracked": TensorSpec((), "int64"),
    }

    rows = find_renames(old, new).operations()

    assert [type(row) for row in rows] == [Cast, Transpose, Reshape, Rename, Drop, Fill]
    assert rows[1] == Transpose("l.weight", "lin.weight", (1, 0))


def test_a_cast_that_is_not_exact_is_refused() -> None:
    with pytest.raises(PlanRefused, match="no exact way from float64"):
        find_renames({"a": FLAT._replace(dtype="float64")}, {"a": FLAT}).operations()


def test_alternatives_come_in_the_order_of_the_files_first_and_are_all_total() -> None:
    answer = find_renames(named("ka", "xu", "vo"), named("mi", "re", "do"))

    candidates = list(answer.alternatives())

    assert len(candidates) == answer.open_count == 6
    assert pairs(candidates[0]) == {"ka": "mi", "xu": "re", "vo": "do"}
    assert all(candidate.total for candidate in candidates)
    assert len({frozenset(pairs(candidate).items()) for candidate in candidates}) == 6


def test_settling_takes_the_one_candidate_that_holds() -> None:
    answer = find_renames(named("ka", "xu"), named("mi", "re"))

    settled = try_alternatives(answer, lambda candidate: pairs(candidate)["ka"] == "re")

    assert pairs(settled) == {"ka": "re", "xu": "mi"}


@pytest.mark.parametrize(("holds", "said"), [(True, "2 give"), (False, "none gives")])
def test_outputs_that_do_not_decide_are_refused(holds: bool, said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        try_alternatives(find_renames(named("ka", "xu"), named("mi", "re")), lambda candidate: holds)


def test_settling_tries_nothing_where_there_are_too_many_candidates() -> None:
    answer = find_renames(named(*"abcdefg"), named(*"tuvwxyz"))

    with pytest.raises(PlanRefused, match="more than 64 candidates"):
        try_alternatives(answer, lambda candidate: pytest.fail("tried"))


def test_a_total_answer_is_tried_no_further() -> None:
    answer = find_renames(named("a"), named("a"))

    assert try_alternatives(answer, lambda candidate: pytest.fail("tried")) is answer


def test_settling_says_that_there_is_no_candidate_where_something_is_left_over() -> None:
    answer = Matching(named("a"), named("b"), leftover_targets=("b",))

    with pytest.raises(PlanRefused, match=r"no total candidate: 1 tensor of the target without a source \(b\)"):
        try_alternatives(answer, lambda candidate: pytest.fail("tried"))


@pytest.mark.parametrize("count", [2, 3])
def test_the_limit_of_candidates_is_theirs(count: int) -> None:
    answer = find_renames(named("ka", "xu"), named("mi", "re"))
    if count == 2:
        assert try_alternatives(answer, lambda candidate: pairs(candidate)["ka"] == "mi", limit=2).total
    else:
        with pytest.raises(PlanRefused, match="more than 1 candidate:"):
            try_alternatives(answer, lambda candidate: pytest.fail("tried"), limit=1)


def test_an_answer_that_is_not_total_has_no_rows() -> None:
    group = UndecidedGroup((("a",), ("b",)), (("x",), ("y",)), "equal shapes")
    answer = Matching(named("a", "b"), named("x", "y"), undecided=(group,))

    with pytest.raises(PlanRefused, match=r"2 tensors of the target undecided \(x, y\)") as caught:
        answer.operations()
    assert caught.value.fix == "settle it with --hint OLD=NEW or --expect"


def test_why_an_answer_is_not_total_is_said_of_each_side() -> None:
    group = UndecidedGroup((("a",),), (("x", "y"),), "equal shapes")
    answer = Matching({}, {}, undecided=(group,), leftover_sources=("s",), leftover_targets=("t", "u"))
    assert why_not_total(answer) == (
        "2 tensors of the target undecided (x, y); 1 tensor of the file without a place (s); "
        "2 tensors of the target without a source (t, u)"
    )
    assert why_not_total(Matching({}, {})) == ""


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (Matching({}, {}), 1),
        (Matching({}, {}, leftover_sources=("a",)), 0),
        (Matching({}, {}, undecided=(UndecidedGroup((("a",),) * 3, (("x",),) * 2, ""),)), 6),
        (Matching({}, {}, undecided=(UndecidedGroup((("a",),), (("x",),) * 2, ""),)), 0),
        (Matching({}, {}, undecided=(UndecidedGroup((("a",),), (("x",),), "", orientation=True),) * 3), 8),
    ],
)
def test_the_open_answers_are_counted(answer: Matching, count: int) -> None:
    assert answer.open_count == count


def test_there_are_no_alternatives_where_something_is_left_over() -> None:
    group = UndecidedGroup((("a",), ("b",)), (("x",), ("y",)), "equal shapes")
    left = Matching(named("a", "b"), named("x", "y", "z"), undecided=(group,), leftover_targets=("z",))
    assert list(left.alternatives()) == []


def test_a_turned_tensor_cannot_be_cast_as_well() -> None:
    half = WIDE._replace(dtype="float16")
    answer = conclude({"a": half}, {"b": TensorSpec((4, 6))}, [Match("a", "b", ground="hint", change="transpose")])
    with pytest.raises(PlanRefused, match=r"^a: transpose and cast at once; save it in float32 first$"):
        answer.operations()


def test_a_wider_target_than_float32_is_no_exact_cast() -> None:
    answer = conclude({"a": FLAT}, {"b": FLAT._replace(dtype="float64")}, [Match("a", "b", "hint")])
    with pytest.raises(PlanRefused, match="no exact way from float32 to float64"):
        answer.operations()


def test_a_counter_of_a_layer_that_was_put_together_of_two_is_filled() -> None:
    here = {"p.weight": FLAT, "q.bias": FLAT, "p.num_batches_tracked": COUNT}
    there = {"n.weight": FLAT, "n.bias": FLAT, "n.num_batches_tracked": COUNT}
    answer = conclude(here, there, [Match("p.weight", "n.weight", "hint"), Match("q.bias", "n.bias", "hint")])
    assert answer.total
    (fill,) = answer.fills
    assert (fill.target, fill.shape, fill.dtype, fill.value) == ("n.num_batches_tracked", (), "int64", 0.0)
    assert fill.reason.startswith("the file has none, and it counts the training batches")
    assert [(drop.source, drop.changes_predictions) for drop in answer.drops] == [("p.num_batches_tracked", False)]
    assert answer.drops[0].reason.startswith("the target has none, and it counts the training batches")


def test_a_counter_at_the_top_goes_with_the_tensors_at_the_top() -> None:
    here = {"weight": FLAT, "num_batches_tracked": COUNT}
    there = {"bn.weight": FLAT, "bn.num_batches_tracked": COUNT}
    answer = conclude(here, there, [Match("weight", "bn.weight", "hint")])
    assert pairs(answer)["num_batches_tracked"] == "bn.num_batches_tracked"


def test_a_counter_that_is_open_or_decided_stays_so() -> None:
    here = {"p.weight": FLAT, "p.num_batches_tracked": COUNT, "r": COUNT}
    there = {"n.weight": FLAT, "n.num_batches_tracked": COUNT}
    decided = [Match("p.weight", "n.weight", "hint"), Match("r", "n.num_batches_tracked", "hint")]
    assert pairs(conclude(here, there, decided))["r"] == "n.num_batches_tracked"
    group = UndecidedGroup((("r",),), (("n.num_batches_tracked",),), "open")
    answer = conclude(here, there, decided[:1], undecided=[group])
    assert pairs(answer) == {"p.weight": "n.weight"}
    assert (answer.fills, answer.leftover_sources) == ((), ())


def test_what_computes_and_has_no_place_is_left_over_in_the_order_of_its_side() -> None:
    answer = conclude(named("z", "a"), {"y": WIDE, "b": CONV}, [], order="sorted")
    assert (answer.leftover_sources, answer.leftover_targets, answer.order) == (("z", "a"), ("y", "b"), "sorted")
    assert not answer.total
