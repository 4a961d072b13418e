"""What is said of a class: failures of one cause once, and no mode that differs goes unsaid."""

from __future__ import annotations

import pytest

from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.amounts import Amount
from viscy_compat.comparison.failures import Failure
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.workers.answers import MODES


def sentence_of(rows: list[tuple[str, str, float]]) -> str:
    """The one finding of outputs that differ in these cases and modes, by so much."""
    failures = [
        Failure(
            "VC501",
            f"in {mode} mode the outputs differ (y)",
            Case(case, {}, (1,)),
            mode=mode,
            module="head",
            amounts=(Amount("y", amount, 1.0),),
        )
        for case, mode, amount in rows
    ]
    result = ClassResult("Toy", "v1", Origin("recorded", "v1", {}, proven=False), 3, tuple(failures))
    (finding,) = result.findings
    return finding.message


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        ([("a", "train", 0.5)], "(in 1 case: a)"),
        ([("a", "train", 0.5), ("b", "train", 0.1)], "(in 2 cases: a, b)"),
        ([("a", "eval", 0.1), ("a", "train", 0.5)], "(in 1 case, in eval mode too: a)"),
        ([("a", "eval", 0.1), ("b", "train", 0.5), ("c", "eval", 0.2)], "(in 3 cases, in eval mode too: a, b, c)"),
    ],
)
def test_the_worst_is_quoted_and_the_other_mode_is_named(rows: list[tuple[str, str, float]], end: str) -> None:
    assert (
        sentence_of(rows)
        == f"in train mode the outputs differ (y); y by up to 0.5, 50 % of its largest value 1; they part in head {end}"
    )


def test_what_differs_in_eval_mode_most_names_train_mode_too() -> None:
    said = sentence_of([("a", "train", 0.1), ("a", "eval", 0.5)])
    assert said.startswith("in eval mode the outputs differ")
    assert said.endswith("(in 1 case, in train mode too: a)")


def test_words_that_name_no_mode_are_given_none() -> None:
    failures = tuple(Failure("VC507", "forward returns a list", Case("a", {}, (1,)), mode=mode) for mode in MODES)
    (finding,) = ClassResult("Toy", "v1", Origin("recorded", "v1", {}, proven=False), 1, failures).findings
    assert finding.message == "forward returns a list (in 1 case: a)"
