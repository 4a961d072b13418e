"""A pattern stands for exactly the names that it matches, and costs no more than these."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plans import NAMES
from viscy_compat.matching import patterns
from viscy_compat.matching.patterns import NameIndex, fold_rows, unfold_row

GRID = [f"stages.{i}.blocks.{j}.{leaf}" for i in range(12) for j in range(9) for leaf in ("gamma", "beta")]


@given(st.lists(st.tuples(NAMES, NAMES), unique_by=lambda row: row[0]), st.lists(NAMES))
def test_folding_says_the_same_rows_and_no_others(rows: list[tuple[str, str]], others: list[str]) -> None:
    layout = NameIndex([*(first for first, _ in rows), *others])
    said = [row for pattern in fold_rows(rows, layout) for row in unfold_row(pattern, layout)]
    assert sorted(said) == sorted(rows)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("stages.3.blocks.{i}.gamma", [(f"stages.3.blocks.{j}.gamma", {"i": str(j)}) for j in range(9)]),
        ("stages.{i}.blocks.8.beta", [(f"stages.{i}.blocks.8.beta", {"i": str(i)}) for i in range(12)]),
        ("stages.{i}.blocks.{i}.beta", [(f"stages.{i}.blocks.{i}.beta", {"i": str(i)}) for i in range(9)]),
        ("stages.12.blocks.{i}.beta", []),
        ("stages.3.blocks.4.{i}", []),
    ],
)
def test_fixed_numbers_and_variables_are_both_held(pattern: str, matches: list[tuple[str, dict[str, str]]]) -> None:
    assert NameIndex(GRID).matches(pattern) == matches


def test_an_empty_name_is_no_number() -> None:
    assert NameIndex(["", "7"]).matches("{i}") == [("7", {"i": "7"})]


def test_a_pattern_is_compared_with_the_names_of_its_fixed_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    bind = patterns._bind

    def count(wanted: tuple[str, ...], indices: tuple[str, ...]) -> dict[str, str] | None:
        looked_at.append(indices)
        return bind(wanted, indices)

    monkeypatch.setattr(patterns, "_bind", count)
    names = NameIndex(GRID)
    for stage in range(12):
        assert len(names.matches(f"stages.{stage}.blocks.{{i}}.gamma")) == 9
    assert len(looked_at) == 12 * 9
