"""Whatever a fork did to its modules, an inferred mapping is right or refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from support.module_trees import Tale, refactor
from support.refactorings import graded
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.matching.renames import find_renames
from viscy_compat.operations import Operation, sources_of, targets_of

tales = st.integers(0, 2**32).map(refactor)


@given(tales)
@settings(max_examples=300)
def test_no_pair_of_a_random_refactoring_is_wrong(tale: Tale) -> None:
    answer = find_renames(tale.case.source, tale.case.target)

    assert graded(answer, tale.case) != "WRONG", tale.steps


@given(tales)
@settings(max_examples=60)
def test_every_tensor_is_accounted_for_exactly_once(tale: Tale) -> None:
    answer = find_renames(tale.case.source, tale.case.target)

    open_here = [name for refusal in answer.undecided for member in refusal.sources for name in member]
    open_there = [name for refusal in answer.undecided for member in refusal.targets for name in member]
    here = [pair.source for pair in answer.matches] + [drop.source for drop in answer.drops]
    there = [pair.target for pair in answer.matches] + [fill.target for fill in answer.fills]
    assert sorted([*here, *open_here, *answer.leftover_sources]) == sorted(tale.case.source)
    assert sorted([*there, *open_there, *answer.leftover_targets]) == sorted(tale.case.target)


@given(tales)
@settings(max_examples=60)
def test_operations_are_total_or_refused(tale: Tale) -> None:
    answer = find_renames(tale.case.source, tale.case.target)
    try:
        rows: tuple[Operation, ...] = answer.operations()
    except PlanRefused:
        assert not answer.total
        return
    assert sorted(name for row in rows for name in sources_of(row)) == sorted(tale.case.source)
    assert sorted(name for row in rows for name in targets_of(row)) == sorted(tale.case.target)


@given(tales)
@settings(max_examples=60)
def test_a_layout_against_itself_is_the_identity(tale: Tale) -> None:
    layout = tale.case.target

    assert [(pair.source, pair.target) for pair in find_renames(layout, layout).matches] == [
        (name, name) for name in layout
    ]


def test_equal_shapes_are_never_paired_by_place_alone() -> None:
    flat = TensorSpec((4,))

    answer = find_renames({"ka": flat, "xu": flat}, {"mo": flat, "ri": flat})

    assert not answer.matches
    assert answer.undecided[0].sources == (("ka",), ("xu",))
    assert answer.undecided[0].targets == (("mo",), ("ri",))
