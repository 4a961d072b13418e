"""Shape keys are equal only for tensors that could be the same one, and looser only where the counts force it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.matching.shapes import change_between, computed_reason, harmless_reason, neutral_reason, shape_keys


def layout(shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32") -> Layout:
    return {name: TensorSpec(shape, dtype) for name, shape in shapes.items()}


def alike(source: Layout, target: Layout, one: str, other: str) -> bool:
    keys = shape_keys(source, target)
    return keys.source[one] == keys.target[other]


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ((4, 2), (4, 2), True),
        ((4, 2), (4, 3), False),
        # one wide matrix here and one tall there may be the same, turned
        ((4, 2), (2, 4), True),
        # a linear layer became a convolution with a kernel of one
        ((4, 2), (4, 2, 1, 1), True),
        ((1, 4, 1), (4,), True),
        ((4, 2, 3), (2, 4, 3), False),
    ],
)
def test_keys_are_as_loose_as_the_counts_allow(source: tuple[int, ...], target: tuple[int, ...], same: bool) -> None:
    assert alike(layout({"a": source}), layout({"b": target}), "a", "b") is same


def test_exact_shapes_that_balance_are_not_loosened() -> None:
    both = {"linear": (4, 2), "conv": (4, 2, 1, 1)}
    assert not alike(layout(both), layout(both), "linear", "conv")
    keys = shape_keys(layout(both), layout(both))
    assert keys.source == keys.target


def test_axes_of_length_one_are_not_ignored_where_that_does_not_balance_either() -> None:
    assert not alike(layout({"a": (4,)}), layout({"b": (4, 1), "c": (4, 1, 1)}), "a", "b")


def test_integers_and_floats_are_never_the_same_and_widths_do_not_matter() -> None:
    floats, halves, integers = (layout({"a": (4, 2)}, dtype) for dtype in ("float32", "bfloat16", "int64"))
    assert alike(floats, halves, "a", "a")
    assert not alike(floats, integers, "a", "a")
    assert alike(integers, layout({"a": (4, 2)}, "uint8"), "a", "a")
    assert not alike(integers, layout({"a": (4, 2)}, "bool"), "a", "a")


def test_matrices_of_integers_are_not_turned() -> None:
    assert not alike(layout({"a": (2, 4)}, "int64"), layout({"b": (4, 2)}, "int64"), "a", "b")


def test_some_matrices_prove_that_none_is_turned() -> None:
    shapes = {"a": (2, 4), "b": (2, 4), "c": (4, 2)}
    assert shape_keys(layout(shapes), layout(shapes)).exact
    turned = {name: shape[::-1] for name, shape in shapes.items()}
    assert not shape_keys(layout(shapes), layout(turned)).exact
    one_each = {"a": (2, 4), "c": (4, 2)}
    # as many wide as tall ones: they may have been turned unseen
    assert not shape_keys(layout(one_each), layout(one_each)).exact
    assert alike(layout(one_each), layout(one_each), "a", "c")


def test_where_others_are_turned_what_stays_straight_proves_nothing() -> None:
    source = {"a": (2, 4), "p": (3, 5)}
    assert not shape_keys(layout(source), layout({"a": (2, 4), "p": (5, 3)})).exact


@pytest.mark.parametrize(
    ("spec", "target", "change"),
    [
        (TensorSpec((4, 2)), TensorSpec((4, 2)), "none"),
        (TensorSpec((4, 2)), TensorSpec((2, 4)), "transpose"),
        (TensorSpec((4, 1)), TensorSpec((1, 4)), "reshape"),
        (TensorSpec((4, 2)), TensorSpec((4, 2, 1)), "reshape"),
        (TensorSpec((4, 2)), TensorSpec((8,)), None),
        (TensorSpec((2, 3, 4)), TensorSpec((4, 3, 2)), None),
        (TensorSpec((4,)), TensorSpec((4,), "int64"), None),
        (TensorSpec((4,), "float16"), TensorSpec((4,)), "none"),
    ],
)
def test_a_shape_becomes_another_one_without_a_guess(spec: TensorSpec, target: TensorSpec, change: str | None) -> None:
    assert change_between(spec, target) == change


def test_what_carries_no_weights_is_known_by_name_shape_and_dtype() -> None:
    counter = TensorSpec((), "int64")
    assert neutral_reason("bn.num_batches_tracked", counter).startswith("counts the training batches")
    assert neutral_reason("bn.num_batches_tracked", TensorSpec((1,), "int64")) == ""
    assert neutral_reason("bn.num_batches_tracked", TensorSpec(())) == ""
    assert neutral_reason("num_batches_tracked.weight", counter) == ""
    table = TensorSpec((49, 49), "int64")
    assert computed_reason("attn.relative_position_index", table)
    assert computed_reason("attn.relative_position_index", TensorSpec((49, 49))) == ""
    assert computed_reason("attn.weight", table) == ""
    assert harmless_reason("x.n_averaged", counter) == "counts what was averaged"
    assert harmless_reason("x.n_averaged", TensorSpec((2,), "int64")) == ""
    assert harmless_reason("x.n_averaged", TensorSpec(())) == ""
    assert harmless_reason("attn.position_ids", table) == computed_reason("attn.position_ids", table)
    assert harmless_reason("bn.num_batches_tracked", counter) == neutral_reason("bn.num_batches_tracked", counter)
