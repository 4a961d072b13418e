"""The pattern of a difference must be that of a precision's noise, as far as its numbers can tell."""

from __future__ import annotations

from math import sqrt

import pytest

from viscy_compat.outputs.differences import Discrepancies
from viscy_compat.outputs.precision import explains, find_precision


def discrepancies(*, ratio: float, coefficient: float, spread: float) -> Discrepancies:
    """A difference of a size beside TF32's noise, in two pieces that disagree about its pattern by a standard error."""
    pieces = [
        [[ratio**2 / 2, coefficient / 2 + off], [coefficient / 2 + off, 0.5]]
        for off in (spread / sqrt(2), -spread / sqrt(2))
    ]
    found = Discrepancies(("tf32",), {"output": pieces})
    assert found.projection("tf32") == pytest.approx((coefficient, spread))
    assert found.length() == pytest.approx(ratio * found.length("tf32"))
    return found


@pytest.mark.parametrize(
    ("ratio", "coefficient", "spread", "is_explained"),
    [
        (0.9, 0.4, 0.05, True),
        (0.9, -0.02, 0.12, False),  # the error of a stem: within two standard errors of what is asked for
        (0.9, 0.08, 0.12, True),
        (0.9, 0.0, 0.5, True),  # few numbers say little
        (0.2, -0.5, 0.01, True),  # nearer than the noise: the size alone decides elsewhere
        (1.6, 1.6, 0.05, False),  # its very pattern, and larger than the bound
    ],
)
def test_a_pattern_that_is_clearly_another_one_is_not_explained(
    ratio: float, coefficient: float, spread: float, is_explained: bool
) -> None:
    assert explains(discrepancies(ratio=ratio, coefficient=coefficient, spread=spread), "tf32") is is_explained


@pytest.mark.parametrize(
    ("distances", "last", "name", "is_explained"),
    [
        # saved in bfloat16, whose rounding is in the noise of float16 too
        ({"": 3.7, "float32": 0.01, "tf32": 1.5, "float16": 1.56, "bfloat16": 3.6}, "bfloat16", "bfloat16", True),
        ({"": 1.6, "float32": 0.01, "tf32": 0.4, "float16": 1.2, "tf32-all": 1.5}, "tf32-all", "float16", True),
        ({"": 9.0, "float32": 0.01, "tf32": 0.4, "float16": 1.2, "bfloat16": 3.6}, "bfloat16", "bfloat16", False),
    ],
)
def test_the_last_precision_to_be_tried_is_the_one_that_can_be_as_large(
    distances: dict[str, float], last: str, name: str, is_explained: bool
) -> None:
    tried: list[str] = []

    def emulate(precision: str) -> Discrepancies:
        tried.append(precision)
        rows = [distances[label] for label in ("", *tried)]
        return Discrepancies(tuple(tried), {"output": [[[one * other for other in rows] for one in rows]]})

    found, holds = find_precision(emulate)
    assert (found.name, holds) == (name, is_explained)
    assert tried == ["float32", "tf32", "float16", last]


@pytest.mark.parametrize(("second", "others"), [(1.05, ("float16",)), (1.08, ())])
def test_a_precision_that_explains_them_nearly_as_well_is_named_too(second: float, others: tuple[str, ...]) -> None:
    distances = {"": 1.0, "float32": 0.01, "tf32": 1.0, "float16": second, "tf32-all": 2.0}
    tried: list[str] = []

    def emulate(precision: str) -> Discrepancies:
        tried.append(precision)
        rows = [distances[label] for label in ("", *tried)]
        return Discrepancies(tuple(tried), {"output": [[[one * other for other in rows] for one in rows]]})

    found, _ = find_precision(emulate)
    assert (found.name, found.others) == ("tf32", others)
