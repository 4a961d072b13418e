"""An alternative is excluded, fits, or is left undecided by where the outputs lie on the way to it."""

from __future__ import annotations

import pytest

from viscy_compat.outputs.alternatives import judge_alternative
from viscy_compat.outputs.differences import Discrepancies


def beside(coefficient: float, *, residual: float = 1.0, size: float = 1.0, noise: float = 0.0) -> Discrepancies:
    """Outputs that went so far on the way to an alternative, in sixteen pieces that agree; noise went as far."""
    row = [residual**2, coefficient * size**2, noise * size]
    pieces = [[row, [row[1], size**2, noise * size], [row[2], noise * size, 1.0]]]
    return Discrepancies(("other", "tf32"), {"output": [[[x / 16 for x in line] for line in pieces[0]]] * 16})


@pytest.mark.parametrize(
    ("coefficient", "answer"),
    [(0.0, "excluded"), (0.15, "excluded"), (0.3, "undecided"), (0.6, "fits"), (1.0, "fits"), (-0.5, "undecided")],
)
def test_zero_is_ours_and_one_is_the_alternative(coefficient: float, answer: str) -> None:
    assert judge_alternative(beside(coefficient), "other", "eps", []).answer == answer


def test_a_direction_far_shorter_than_the_residual_is_undecided() -> None:
    assert judge_alternative(beside(0.0, residual=6.0), "other", "eps", []).answer == "undecided"
    assert judge_alternative(beside(0.0, residual=4.0), "other", "eps", []).answer == "excluded"


def test_a_direction_in_which_noise_lies_by_chance_is_undecided() -> None:
    found = judge_alternative(beside(0.0, noise=0.3), "other", "eps", ["tf32"])
    assert (found.answer, round(found.spread, 3)) == ("undecided", 0.3)
    assert judge_alternative(beside(1.0, noise=0.3), "other", "eps", ["tf32"]).answer == "undecided"


def test_what_moves_nothing_has_no_effect_and_equal_bytes_exclude_the_rest() -> None:
    assert judge_alternative(beside(0.0, size=0.0), "other", "eps", []).answer == "no effect"
    assert judge_alternative(beside(0.0, residual=0.0), "other", "eps", []).answer == "excluded"
