"""A plan names every tensor exactly once, or does not exist; it leads back where nothing was lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plans import plans
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Cast, Concat, Drop, Fill, Rename, Reshape, Split, Transpose
from viscy_compat.plans.plan import (
    Plan,
    PlanEnd,
    inverse_of,
    layout_digest,
    leftovers_of,
    plan_of,
    require_fit,
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
    ("dtype", "value"), [("float64", 0.0), ("float16", 0.0), ("int64", 0.5), ("float32", float("nan"))]
)
def test_a_fill_is_float32_or_an_integer_of_its_kind(dtype: str, value: float) -> None:
    assert refused(Fill("b", (2,), dtype, value, "why"), source={}, target={"b": TensorSpec((2,), dtype)})


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
