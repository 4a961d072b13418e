"""A pattern stands for exactly the names that it matches, and costs no more than these."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plans import NAMES
from viscy_compat.matching import patterns
from viscy_compat.matching.patterns import VARIABLES, NameIndex, fill_in, fold_rows, unfold_row

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


@pytest.mark.parametrize(
    ("rows", "others", "folded"),
    [
        # two rows are a pattern, one is none, and what does not change stays a number
        ([("a.0.w", "b.0"), ("a.1.w", "b.1")], [], [("a.{i}.w", "b.{i}")]),
        ([("a.0", "b.0")], [], [("a.0", "b.0")]),
        ([("a.3.0", "b.7.0"), ("a.3.1", "b.7.1")], [], [("a.3.{i}", "b.7.{i}")]),
        ([(f"{i}.{j}", f"{j}.{i}") for i in "01" for j in "01"], [], [("{i}.{j}", "{j}.{i}")]),
        ([("a.0.0", "b.0"), ("a.1.1", "b.1")], ["a.0.1"], [("a.0.0", "b.0"), ("a.1.1", "b.1")]),
        # a name that is not among the rows: the index with the fewest values stays a number
        (
            [(f"a.{i}.{j}", f"b.{i}.{j}") for i in "012" for j in "01" if (i, j) != ("2", "1")],
            ["a.2.1"],
            [("a.{i}.0", "b.{i}.0"), ("a.0.1", "b.0.1"), ("a.1.1", "b.1.1")],
        ),
        # an index that follows from no other
        ([("a.0", "b.1"), ("a.1", "b.2")], [], [("a.0", "b.1"), ("a.1", "b.2")]),
        ([("a{.0", "b}.0"), ("a{.1", "b}.1")], [], [("a{{.{i}", "b}}.{i}")]),
        ([("c", "d{i}")], [], [("c", "d{{i}}")]),
        ([("a.0", "b", "x.0"), ("a.1", "c", "x.1")], [], [("a.0", "b", "x.0"), ("a.1", "c", "x.1")]),
    ],
)
def test_rows_are_folded_where_a_pattern_says_them_and_nothing_else(
    rows: list[tuple[str, ...]], others: list[str], folded: list[tuple[str, ...]]
) -> None:
    layout = NameIndex([*(row[0] for row in rows), *others])
    assert list(fold_rows(rows, layout)) == folded
    assert sorted(row for pattern in folded for row in unfold_row(pattern, layout)) == sorted(rows)


def test_as_many_indices_change_as_there_are_variables() -> None:
    for count in (len(VARIABLES), len(VARIABLES) + 1):
        names = [".".join(["a", *[digit] * count]) for digit in "01"]
        rows = [(name, name) for name in names]
        pattern = ".".join(["a", *(f"{{{variable}}}" for variable in VARIABLES)])
        # all change together, so that the first says what each other one is
        expected = [(pattern, ".".join(["a", *["{i}"] * count]))] if count == len(VARIABLES) else rows
        assert list(fold_rows(rows, NameIndex(names))) == expected


def test_what_a_pattern_cannot_say_is_an_error_that_names_it() -> None:
    layout = NameIndex(["a.0", "a.1", "b"])
    assert unfold_row(("a.{i}", "x.{i}.{{y}}", "z"), layout) == [("a.0", "x.0.{y}", "z"), ("a.1", "x.1.{y}", "z")]
    with pytest.raises(ValueError, match=r"^'a\.\{i\}' does not say what \{j\} is$"):
        unfold_row(("a.{i}", "b.{k}", "c.{j}"), layout)
    with pytest.raises(ValueError, match=r"^'c\.\{i\}' matches no tensor$"):
        unfold_row(("c.{i}", "d.{i}"), layout)
    with pytest.raises(ValueError, match=r"^'b\{' has a brace that stands alone$"):
        unfold_row(("b{",), layout)


def test_a_pattern_is_filled_in_part_by_part() -> None:
    assert fill_in("a.{i}.{{w}}.{j}", {"i": "3", "j": "0"}) == "a.3.{w}.0"
    with pytest.raises(KeyError):
        fill_in("a.{i}", {})
