"""A plan names every tensor exactly once, or does not exist; it leads back where nothing was lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plans import plans
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.plans.plan import (
    Plan,
    PlanEnd,
    identity_rows,
    inverse_of,
    layout_digest,
    leftovers_of,
    list_leftovers,
    plan_of,
    plan_without_changes,
    require_fit,
    result_of,
    with_casts,
)

W = TensorSpec((2, 3))
REVERSIBLE = ("rename", "fill", "reshape", "transpose", "split", "concat")


def refused(*rows: object, source: dict[str, TensorSpec], target: dict[str, TensorSpec]) -> PlanRefused:
    with pytest.raises(PlanRefused) as caught:
        plan_of(PlanEnd(source), PlanEnd(target), rows)  # type: ignore[arg-type]
    return caught.value


def test_every_leftover_of_both_sides_is_listed() -> None:
    error = refused(Rename("a", "b"), source={"a": W, "c.0": W, "c.1": W}, target={"b": W, "d": W})
    assert error.leftovers == (
        ("c.0", "source|no operation takes it"),
        ("c.1", "source|no operation takes it"),
        ("d", "target|no operation gives it"),
    )
    assert str(error) == ("no total plan: c.{0..1} (source): no operation takes it; d (target): no operation gives it")
    assert error.exit_code == 1


def test_a_tensor_that_is_named_twice_is_refused() -> None:
    error = refused(Rename("a", "b"), Rename("a", "c"), source={"a": W}, target={"b": W, "c": W})
    assert error.leftovers == (("a", "source|2 operations name it"),)
    error = refused(Rename("a", "c"), Rename("b", "c"), source={"a": W, "b": W}, target={"c": W})
    assert error.leftovers == (("c", "target|2 operations name it"),)


def test_a_name_that_no_side_has_is_refused() -> None:
    error = refused(Rename("a", "b"), Rename("x", "y"), source={"a": W}, target={"b": W})
    assert error.leftovers == (("x", "source|there is no such tensor"), ("y", "target|there is no such tensor"))


def test_every_row_that_gives_nothing_fitting_is_listed() -> None:
    rows = (Rename("x", "b"), Reshape("c", "d", (7,)), Rename("a", "b"), Transpose("e", "f", (0, 0)))
    specs = {"b": TensorSpec((9,)), "d": TensorSpec((7,)), "f": W}
    assert refused(*rows, source={"a": W, "c": W, "e": W}, target=specs).leftovers == (
        ("x", "source|there is no such tensor"),
        ("b", "target|2 operations name it"),
        ("b", "(2, 3) float32 does not fit (9,) float32"),
        ("c", "(2, 3) float32 cannot be reshaped to (7,)"),
        ("e", "(0, 0) does not permute the axes of (2, 3) float32"),
    )


@pytest.mark.parametrize("row", [Drop("x", "unused"), Split("a", (), 0, ())])
def test_a_row_that_has_no_place_in_either_layout_is_refused_beside_others(row: Operation) -> None:
    error = refused(row, Rename("a", "b"), Drop("c", "unused"), source={"a": W, "c": W}, target={"b": W})
    name, reason = ("x", "there is no such tensor") if isinstance(row, Drop) else ("a", "2 operations name it")
    assert error.leftovers[0] == (name, f"source|{reason}")


def test_names_are_listed_by_what_keeps_them_and_a_bar_in_a_reason_is_no_side() -> None:
    leftovers = [("a", "lost"), ("z.1", "source|no operation takes it"), ("b", "lost"), ("c", "x|y|z")]
    assert list_leftovers(leftovers) == "a, b: lost; z.1 (source): no operation takes it; c: x|y|z"


@pytest.mark.parametrize(
    ("row", "spec", "reason"),
    [
        (Rename("a", "b"), TensorSpec((3, 2)), "(2, 3) float32 does not fit (3, 2) float32"),
        (Rename("a", "b"), TensorSpec((2, 3), "float16"), "(2, 3) float32 does not fit (2, 3) float16"),
        (Cast("a", "b"), W, "float32 cannot be cast to float32 without loss"),
        (Reshape("a", "b", (7,)), TensorSpec((7,)), "(2, 3) float32 cannot be reshaped to (7,)"),
        (Reshape("a", "b", (-2, -3)), TensorSpec((6,)), "(2, 3) float32 cannot be reshaped to (-2, -3)"),
        (Transpose("a", "b", (0, 0)), W, "(0, 0) does not permute the axes of (2, 3) float32"),
        (Split("a", ("b",), 0, (1,)), W, "(2, 3) float32 cannot be split into (1,) along axis 0"),
        (Split("a", ("b",), 2, (1,)), W, "(2, 3) float32 cannot be split into (1,) along axis 2"),
        (Concat(("a",), "b", 2), W, "(2, 3) float32 cannot be joined along axis 2"),
    ],
)
def test_an_operation_that_does_not_give_what_the_target_needs_is_refused(
    row: object, spec: TensorSpec, reason: str
) -> None:
    assert refused(row, source={"a": W}, target={"b": spec}).leftovers[0] == (
        "a" if "fit" not in reason else "b",
        reason,
    )


@pytest.mark.parametrize(
    ("dtype", "value", "reason"),
    [
        ("float64", 0.0, "float64 cannot be filled"),
        ("float16", 0.0, "float16 cannot be filled"),
        ("int64", 0.5, "0.5 is no int64"),
        ("float32", float("nan"), "nan is no value to fill with"),
        ("int64", float("-inf"), "-inf is no value to fill with"),
    ],
)
def test_a_fill_is_float32_or_an_integer_of_its_kind(dtype: str, value: float, reason: str) -> None:
    error = refused(Fill("b", (2,), dtype, value, "why"), source={}, target={"b": TensorSpec((2,), dtype)})
    assert error.leftovers == (("b", reason),)


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "bool"])
def test_a_filled_value_is_a_float_however_it_was_stated(dtype: str) -> None:
    plan = plan_of(PlanEnd({}), PlanEnd({"n": TensorSpec((2,), dtype)}), [Fill("n", (2,), dtype, 1, "why")])
    assert [(row.dtype, repr(row.value)) for row in plan.operations if isinstance(row, Fill)] == [(dtype, "1.0")]
    assert plan.count(Fill) == 1


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8", "complex64"])
def test_only_floats_of_16_and_8_bits_are_cast(dtype: str) -> None:
    spec = {"w": TensorSpec((2,), dtype)}
    assert with_casts([Rename("w", "w")], spec, {"w": TensorSpec((2,))}) == (Rename("w", "w"),)
    assert refused(Cast("w", "w"), source=spec, target={"w": TensorSpec((2,))})


@given(plans())
def test_operations_are_ordered_by_target_then_drops(plan: Plan) -> None:
    again = plan_of(plan.source, plan.target, reversed(plan.operations), loses=plan.loses)
    assert again == plan
    kinds = [isinstance(row, Drop) for row in plan.operations]
    assert kinds == sorted(kinds)


@given(plans(kinds=REVERSIBLE))
def test_the_inverse_of_the_inverse_is_the_plan(plan: Plan) -> None:
    back = inverse_of(plan)
    assert (back.source, back.target) == (plan.target, plan.source)
    assert leftovers_of(back.operations, plan.target.layout, plan.source.layout) == ()
    assert inverse_of(back) == plan


def test_drops_and_casts_have_no_inverse_and_it_says_why() -> None:
    source = PlanEnd({"a": W, "b": TensorSpec((2,), "float16")})
    plan = plan_of(source, PlanEnd({"b": TensorSpec((2,))}), [Drop("a", "unused"), Cast("b", "b")])
    with pytest.raises(PlanRefused) as caught:
        inverse_of(plan)
    assert caught.value.leftovers == (
        ("b", "it was cast to float32, and casting back could round what was written since"),
        ("a", "it was dropped (unused), and its numbers are gone"),
    )
    assert str(caught.value) == (
        "the plan cannot be reversed: b: it was cast to float32, and casting back could round what was written since; "
        "a: it was dropped (unused), and its numbers are gone"
    )


def test_a_fill_leads_back_as_a_drop_that_demands_the_value() -> None:
    plan = plan_of(PlanEnd({}), PlanEnd({"n": TensorSpec((), "int64")}), [Fill("n", (), "int64", 0, "a counter")])
    assert inverse_of(plan).operations == (Drop("n", "a counter", 0.0),)


@given(plans(), st.data())
def test_a_plan_fits_its_own_layout_in_any_order_and_no_other(plan: Plan, data: st.DataObject) -> None:
    layout = plan.source.layout
    shuffled = {name: layout[name] for name in data.draw(st.permutations(list(layout)))}
    require_fit(plan, shuffled)
    assert layout_digest(shuffled) == layout_digest(layout)
    other = {**layout, "one.more": W}
    with pytest.raises(PlanRefused, match="another layout"):
        require_fit(plan, other)
    assert layout_digest(other) != layout_digest(layout)


SHAPES = {"w": (2, 3), "v": (2, 4), "n": (), "one": (1,), "none": (0, 2)}
WIDE = {name: TensorSpec(shape, "float64") for name, shape in SHAPES.items()}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Rename("w", "x"), {"x": TensorSpec((2, 3), "float64")}),
        (Reshape("w", "x", (3, 2)), {"x": TensorSpec((3, 2), "float64")}),
        (Reshape("n", "x", (1,)), {"x": TensorSpec((1,), "float64")}),
        (Reshape("one", "x", ()), {"x": TensorSpec((), "float64")}),
        (Reshape("none", "x", (3, 0)), {"x": TensorSpec((3, 0), "float64")}),
        (Transpose("w", "x", (1, 0)), {"x": TensorSpec((3, 2), "float64")}),
        (Split("w", ("x", "y"), 1, (1, 2)), {"x": TensorSpec((2, 1), "float64"), "y": TensorSpec((2, 2), "float64")}),
        (Split("w", ("x", "y"), 0, (0, 2)), {"x": TensorSpec((0, 3), "float64"), "y": TensorSpec((2, 3), "float64")}),
        (Concat(("w", "v"), "x", 1), {"x": TensorSpec((2, 7), "float64")}),
        (Fill("x", (2,), "int32", 1, "new"), {"x": TensorSpec((2,), "int32")}),
        (Drop("w", "unused"), {}),
    ],
)
def test_what_an_operation_gives_has_the_shape_and_the_dtype_of_what_it_takes(
    row: Operation, expected: dict[str, TensorSpec]
) -> None:
    assert result_of(row, WIDE) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Reshape("w", "x", (7,)), "(2, 3) float64 cannot be reshaped to (7,)"),
        (Reshape("w", "x", (-1, -6)), "(2, 3) float64 cannot be reshaped to (-1, -6)"),
        (Split("w", ("x", "y"), 1, (1, 1)), "(2, 3) float64 cannot be split into (1, 1) along axis 1"),
        (Split("w", ("x",), 1, (1, 2)), "(2, 3) float64 cannot be split into (1, 2) along axis 1"),
        (Split("w", (), 1, ()), "(2, 3) float64 cannot be split into () along axis 1"),
        (Split("w", ("x", "y"), 2, (1, 2)), "(2, 3) float64 cannot be split into (1, 2) along axis 2"),
        (Concat(("w", "v"), "x", 0), "(2, 3) float64 and (2, 4) float64 cannot be joined along axis 0"),
        (Concat(("w", "v"), "x", 2), "(2, 3) float64 and (2, 4) float64 cannot be joined along axis 2"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(row: Operation, reason: str) -> None:
    assert result_of(row, WIDE) == reason


def test_tensors_of_two_dtypes_are_not_joined() -> None:
    specs = {"w": TensorSpec((2, 3)), "v": TensorSpec((2, 3), "float64")}
    assert result_of(Concat(("w", "v"), "x", 1), specs) == (
        f"{specs['w']} and {specs['v']} cannot be joined along axis 1"
    )


@pytest.mark.parametrize(
    ("here", "there", "row"),
    [
        ("float16", "float32", Cast("w", "w")),
        ("bfloat16", "float32", Cast("w", "w")),
        ("float32", "int64", Rename("w", "w")),
        ("float16", "float64", Rename("w", "w")),
        ("float32", "float32", Rename("w", "w")),
    ],
)
def test_only_narrow_floats_on_their_way_to_float32_become_casts(here: str, there: str, row: Operation) -> None:
    source, target = {"w": TensorSpec((2,), here)}, {"w": TensorSpec((2,), there)}
    assert with_casts([Rename("w", "w")], source, target) == (row,)
    drop = Drop("w", "unused")
    assert with_casts([drop], source, target) == (drop,)
    unknown = Rename("elsewhere", "w")
    assert with_casts([unknown], source, target) == (unknown,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_counter_becomes_an_integer_and_nothing_else_does(dtype: str) -> None:
    counter, whole = TensorSpec((), dtype), {"n": TensorSpec((), "int64")}
    (row,) = with_casts([Rename("n", "n")], {"n": counter}, whole)
    assert row == Cast("n", "n", "int64")
    assert result_of(row, {"n": counter}) == whole
    assert result_of(row, {"n": TensorSpec((2,), dtype)}) == f"{dtype} cannot be cast to int64 without loss"
    with pytest.raises(PlanRefused, match="it was cast to int64"):
        inverse_of(plan_of(PlanEnd({"n": counter}), PlanEnd(whole), [row]))


def test_a_plan_for_another_layout_says_what_is_missing_and_what_is_new() -> None:
    layout = {"w": TensorSpec((2,)), "b": TensorSpec((2,))}
    plan = plan_of(PlanEnd(layout), PlanEnd(layout), identity_rows(layout), loses=["nothing"])
    assert plan.loses == ("nothing",)
    with pytest.raises(PlanRefused) as caught:
        require_fit(plan, {"w": TensorSpec((2,)), "c": TensorSpec((2,))})
    assert caught.value.leftovers == (("b", "not in the file"), ("c", "not in the plan"))
    assert str(caught.value) == "the plan was made for another layout: b: not in the file; c: not in the plan"


def test_a_plan_without_changes_keeps_every_tensor_and_what_is_lost() -> None:
    source, target = PlanEnd({"w": W, "b": W}, generation="v0.2"), PlanEnd({"w": W, "b": W}, generation="v0.3")
    plan = plan_without_changes(source, target, loses=["nothing"])
    assert plan == plan_of(source, target, [Rename("b", "b"), Rename("w", "w")], loses=["nothing"])
    with pytest.raises(ValueError, match=r"^the two ends have different layouts$"):
        plan_without_changes(source, PlanEnd({"w": W}))


def test_the_digest_of_a_layout_is_the_one_that_plan_files_have() -> None:
    layout = {"b": TensorSpec((3,), "int64"), "a.\u00e9": TensorSpec(())}
    # two lines, names escaped as ascii() does it: "'a.\\xe9' float32 ()" and "'b' int64 (3,)"
    assert layout_digest(layout) == "85b68badb59051e125f52b3162489050e7573b4fb3dc634d30250e2cb1974288"
