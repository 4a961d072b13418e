"""Inner products say what the vectors would say that they are of."""

from __future__ import annotations

import random
from math import isclose, sqrt

import pytest

from viscy_compat.outputs.differences import Discrepancies

PIECES, WIDTH = 5, 7


def vectors(seed: int) -> list[list[float]]:
    drawn = random.Random(seed)
    return [[drawn.gauss(0, 1) for _ in range(PIECES * WIDTH)] for _ in range(3)]


def products(rows: list[list[float]]) -> list[list[list[float]]]:
    cuts = [slice(at * WIDTH, (at + 1) * WIDTH) for at in range(PIECES)]
    return [[[dot(one[cut], other[cut]) for other in rows] for one in rows] for cut in cuts]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_lengths_cosines_and_projections_are_those_of_the_vectors(seed: int) -> None:
    r, d, n = rows = vectors(seed)
    found = Discrepancies(("d", "n"), {"output": products(rows)})
    assert isclose(found.length(), sqrt(dot(r, r)))
    assert isclose(found.length_of("output", "n"), sqrt(dot(n, n)))
    apart = [a - b for a, b in zip(r, d, strict=True)]
    assert isclose(found.between("d"), sqrt(dot(apart, apart)))
    assert isclose(found.likeness("n"), dot(r, n) / sqrt(dot(r, r) * dot(n, n)))
    assert isclose(found.projection("d").coefficient, dot(r, d) / dot(d, d))
    assert isclose(found.projection("d", "n").coefficient, dot(n, d) / dot(d, d))


def test_pieces_that_agree_leave_no_spread_and_pieces_that_do_not_leave_one() -> None:
    d = vectors(4)[0]
    assert Discrepancies(("d",), {"o": products([[2 * x for x in d], d])}).projection("d").spread < 1e-12
    torn = [x if place < WIDTH else 0.0 for place, x in enumerate(d)]
    assert Discrepancies(("d",), {"o": products([torn, d])}).projection("d").spread > 0.1
