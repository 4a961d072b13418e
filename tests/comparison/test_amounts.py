"""How far outputs are apart is measured of each output, and nothing that is not a number hides."""

from __future__ import annotations

from array import array
from math import inf, nan
from pathlib import Path

import pytest

from viscy_compat.comparison.amounts import Amount, measure, worst_of
from viscy_compat.workers import arrays


def kept(path: Path, **numbers: list[float]) -> Path:
    arrays.write_arrays(path, {name.replace("_", "/"): ((len(row),), array("f", row)) for name, row in numbers.items()})
    return path


def test_the_largest_difference_of_each_output_is_measured_against_the_old_one(tmp_path: Path) -> None:
    old = kept(tmp_path / "old", eval_a=[1.0, -4.0], eval_b=[1.0, 1.0], train_a=[1.0, 0.0], weights_w=[0.0])
    new = kept(tmp_path / "new", eval_a=[1.5, -4.25], eval_b=[1.0, 1.0], train_a=[1.0, 8.0], weights_w=[9.0])
    assert measure(old, new, "eval") == (Amount("a", 0.5, 4.0),)
    assert measure(old, new, "train") == (Amount("a", 8.0, 1.0),)
    assert str(measure(old, new, "eval")[0]) == "a by up to 0.5, 12 % of its largest value 4"


@pytest.mark.parametrize("wild", [nan, inf, -inf])
def test_what_is_no_number_is_said_and_is_the_worst(tmp_path: Path, wild: float) -> None:
    old = kept(tmp_path / "old", eval_a=[1.0, 1.0, 1.0], eval_b=[1.0])
    new = kept(tmp_path / "new", eval_a=[1.0, wild, 2.0], eval_b=[1.5])
    amounts = measure(old, new, "eval")
    assert str(amounts[0]) == "a is not finite on one side"
    assert worst_of(amounts) == inf
    assert amounts[0].to_dict() == {
        "output": "a",
        "largest": None,
        "relative": None,
        "scale": 1.0,
        "of": "largest value",
    }


def test_an_output_of_zeros_has_no_relative_difference(tmp_path: Path) -> None:
    old, new = kept(tmp_path / "old", eval_a=[0.0]), kept(tmp_path / "new", eval_a=[0.25])
    assert str(measure(old, new, "eval")[0]) == "a by up to 0.25, its largest value is 0"


def test_outputs_of_other_sizes_or_names_are_not_subtracted(tmp_path: Path) -> None:
    old = kept(tmp_path / "old", eval_a=[1.0, 1.0], eval_b=[1.0], eval_c=[1.0])
    new = kept(tmp_path / "new", eval_a=[9.0], eval_b=[1.5], eval_d=[9.0])
    assert [amount.output for amount in measure(old, new, "eval")] == ["b"]
