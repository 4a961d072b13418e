"""The inference of renames on models of timm and MONAI, and on pairs that history made."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch


def test_no_pair_of_any_family_over_timm_and_monai_is_wrong_and_nearly_all_that_can_be_decided_is_right() -> None:
    from support.model_layouts import library_layouts
    from support.refactorings import graded, refactorings
    from viscy_compat.matching.renames import find_renames

    cases = [case for target in library_layouts().values() for case in refactorings(target, seed=1)]
    grades = [(case, graded(find_renames(case.source, case.target), case)) for case in cases]

    assert len(grades) >= 220
    assert [case.family for case, grade in grades if grade == "WRONG"] == []
    decidable = [grade for case, grade in grades if case.decides in ("names", "structure")]
    assert decidable.count("correct") >= 0.95 * len(decidable)


def test_every_pair_from_history_is_found() -> None:
    from support.historical_pairs import pairs_from_history
    from support.refactorings import graded
    from viscy_compat.matching.renames import find_renames

    grades = {case.family: graded(find_renames(case.source, case.target), case) for case in pairs_from_history()}

    assert len(grades) == 10
    assert set(grades.values()) == {"correct"}
