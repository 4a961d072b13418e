"""Whatever a worker answers becomes records or one error, and two answers that say nothing are never equal."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.amounts import Amount
from viscy_compat.comparison.cases import compare
from viscy_compat.comparison.failures import UNDECIDED, Failure, Judgement
from viscy_compat.comparison.parting import parting_module
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.errors import WorkerFailed
from viscy_compat.layout import TensorSpec
from viscy_compat.references.agreement import _without_chaos, compare_recorded
from viscy_compat.references.records import RecordedCase, RecordedPass, TensorRecord
from viscy_compat.workers.answers import (
    Pass,
    Raised,
    Run,
    WorkerAnswer,
    WorkerOutput,
    read_answer,
    read_description,
    read_names,
)
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Worker

REPORT = ("layout", "initial", "eval", "train")
RUN = Run("old", "a:B", {}, (1,), REPORT, 0, {"samples": 1, "norms": True})
CASE = Case("case", {}, (1,))
D, E = "d" * 64, "e" * 64
OUTPUT = {
    "name": "out",
    "shape": [1, 2],
    "dtype": "float32",
    "digest": D,
    "finite": True,
    "samples": [0.5],
    "norm": 0.5,
}
PASS = {"type": "Tensor", "outputs": [OUTPUT], "generator": D, "buffers": {"mean": D}}
WHOLE: dict[str, Any] = {
    "layout": [["w", [2, 3], "float32"], ["mean", [], "float32"]],
    "initial": {"digests": [D, E], "generator": D, "samples": [[0.5], [1.0]], "norms": [0.5, 1.0]},
    "eval": PASS,
    "train": PASS,
    "seconds": {"build": 0.1},
}
ERROR = {"stage": "build", "type": "ValueError", "message": "no"}
DESCRIBED = {"file": "a.py", "module": "a", "signature": [["width", "POSITIONAL_OR_KEYWORD", True, 4]]}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value but the root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, item in items for place in ((*path, name), *places(item, (*path, name)))]


def changed(value: Any, place: tuple[Any, ...], to: Any) -> Any:
    """A copy with something else at one place; ``...`` removes what is there."""
    new = copy.deepcopy(value)
    inner = new
    for step in place[:-1]:
        inner = inner[step]
    if to is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = to
    return new


def test_a_whole_answer_is_read() -> None:
    answer = read_answer(WHOLE, "old", RUN)
    assert answer.layout == {"w": TensorSpec((2, 3)), "mean": TensorSpec(())}
    assert compare(answer, answer, CASE).failures == ()
    assert read_answer({"error": ERROR}, "old", RUN).error == Raised("build", "ValueError", "no")
    assert [str(row) for row in read_description(DESCRIBED, "old").signature] == ["width=4"]
    names = read_names({"names": {"a": None, "b": ERROR}}, "old", ["a", "b"])
    assert names == {"a": None, "b": Raised("build", "ValueError", "no")}


LESS = [place for place in places(WHOLE) if place[0] != "seconds" and "norm" not in place]


@pytest.mark.parametrize("place", LESS, ids=str)
def test_an_answer_that_leaves_anything_out_is_no_answer(place: tuple[Any, ...]) -> None:
    """Or, where a list is as good without it (a size, a number of a sample), it is another answer."""
    less = read(changed(WHOLE, place, ...))
    whole = read_answer(WHOLE, "old", RUN)
    assert less is None or compare(whole, less, CASE).failures or "samples" in place


def read(answer: Any) -> WorkerAnswer | None:
    """Read an answer; None where that is refused."""
    with suppress(WorkerFailed):
        return read_answer(answer, "old", RUN)
    return None


STRANGE: list[Any] = [
    None,
    True,
    -1,
    1 << 70,
    10**400,
    0.5,
    float("nan"),
    "x",
    "",
    [],
    [[]],
    {},
    {"error": 1},
    "\ud800\x1b",
]


@pytest.mark.parametrize("to", STRANGE, ids=repr)
@pytest.mark.parametrize("of", [WHOLE, {"error": ERROR}, {**WHOLE, "modules": {"eval": {"calls": [["a", "B", D, E]]}}}])
def test_anything_anywhere_is_a_record_or_one_error(of: dict[str, Any], to: Any) -> None:
    for place in places(of):
        answer = read(changed(of, place, to))
        if answer:
            judged(answer)


def judged(answer: WorkerAnswer) -> None:
    """Compare it with a whole one, both ways and recorded, and write down what comes of it."""
    whole = read_answer(WHOLE, "old", RUN)
    for old, new in ((answer, whole), (whole, answer), (answer, answer)):
        failures = compare(old, new, CASE).failures
        json.dumps([failure.to_dict() for failure in failures]).encode()
        parting_module(old.calls.get("eval", ()), new.calls.get("eval", ()))
    json.dumps([failure.to_dict() for failure in compare_recorded(RECORDED, answer, CASE).failures])


ROWS = (TensorRecord("w", (2, 3), "float32", D, 0.5, (0.5,)), TensorRecord("mean", (), "float32", E, 1.0, (1.0,)))
RECORDED = RecordedCase(
    "case",
    "0.4.0",
    {},
    {},
    (1,),
    None,
    ROWS,
    D,
    dict.fromkeys(
        ("eval", "train"), RecordedPass("Tensor", (TensorRecord("out", (1, 2), "float32", D, 0.5, (0.5,)),), D, "")
    ),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([D, "eval"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WHOLE, *PASS, *OUTPUT]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*WHOLE, "error", "signature", "file", "names"]), JSON), JSON)
def test_any_json_is_a_record_or_one_error(answer: dict[str, Any], other: Any) -> None:
    for reading in (
        lambda: judged(read_answer(answer, "old", RUN)),
        lambda: judged(read_answer({**WHOLE, **answer}, "old", RUN)),
        lambda: read_description(answer, "old"),
        lambda: read_names({"names": other}, "old", ["a"]),
    ):
        with suppress(WorkerFailed):
            reading()


NOTHING = [
    WorkerAnswer(),
    WorkerAnswer({"w": TensorSpec((2, 3))}),
    replace(read_answer(WHOLE, "old", RUN), passes={}),
    replace(read_answer(WHOLE, "old", RUN), initial=None),
    replace(read_answer(WHOLE, "old", RUN), layout={}),
]


@pytest.mark.parametrize("old", NOTHING)
@pytest.mark.parametrize(
    "new", [*NOTHING, read_answer(WHOLE, "old", RUN), WorkerAnswer(error=Raised("build", "E", ""))]
)
def test_a_side_that_says_too_little_is_undecided_and_exits_2(old: WorkerAnswer, new: WorkerAnswer) -> None:
    for one, other in ((old, new), (new, old)):
        judgement = compare(one, other, CASE)
        assert [failure.code for failure in judgement.failures] == [UNDECIDED]
        result = ClassResult("A", "v1", Origin("git", "1", {}, True), 1, judgement.failures)
        assert result.exit_code == 2


@pytest.mark.parametrize("new", NOTHING)
def test_a_candidate_that_says_too_little_is_never_what_was_recorded(new: WorkerAnswer) -> None:
    assert compare_recorded(RECORDED, new, CASE).failures
    assert compare_recorded(RECORDED, read_answer(WHOLE, "old", RUN), CASE).failures == ()


def test_an_output_that_is_not_what_was_recorded_is_called_what_the_class_calls_it_and_measured() -> None:
    told = read_answer(WHOLE, "old", RUN)
    assert isinstance(told.passes["eval"], Pass)
    far = replace(told.passes["eval"].outputs[0], digest="f" * 64, samples=(0.75,))
    new = replace(told, passes={**told.passes, "eval": replace(told.passes["eval"], outputs=(far,))})
    for names, name in ((("projection",), "projection"), ((), "out")):
        (failure,) = compare_recorded(RECORDED, new, CASE, names=names).failures
        amount = Amount(name, 0.25, 0.5, "recorded root mean square")
        assert (failure.code, failure.mode, failure.amounts) == ("VC506", "eval", (amount,))
        assert f"in eval mode {name} is not what was recorded" in failure.sentence
        assert f"{name} by up to 0.25, 50 % of its recorded root mean square 0.5" in failure.sentence


def test_outputs_on_the_meta_device_have_no_numbers_and_those_of_the_processor_must() -> None:
    shapes = {"type": "Tensor", "outputs": [{"name": "out", "shape": [1], "dtype": "float32"}]}
    asked = Run("old", "a:B", {}, (1,), ("eval",), 0, {"device": "meta"})
    assert read_answer({"eval": shapes}, "old", asked).passes["eval"]
    with pytest.raises(WorkerFailed):
        read_answer({"eval": shapes}, "old", replace(asked, options={}))


@pytest.mark.parametrize("numbers", [[], [[[0.5], [0.5]]] * 2])
def test_an_answer_with_numbers_for_fewer_or_more_calls_than_it_names_is_refused(numbers: list[Any]) -> None:
    asked = Run("old", "a:B", {}, (1,), ("eval", "modules"), 0, {"samples": 1, "norms": True})
    traced = {"calls": [["head", "Linear", D, E]], "numbers": [[[0.5], [0.5]]]}
    assert len(read_answer({"eval": PASS, "modules": {"eval": traced}}, "old", asked).felt["eval"]) == 1
    with pytest.raises(WorkerFailed, match="numbers of other calls"):
        read_answer({"eval": PASS, "modules": {"eval": {**traced, "numbers": numbers}}}, "old", asked)


@pytest.mark.parametrize("slopes", [[[0.5]], [[0.5, 1.0], [1.0]], [[0.5, "1"], [1.0, 2.0, 3.0]], 7, {"a": [1.0]}])
def test_slopes_of_another_input_are_refused(slopes: Any) -> None:
    run = Run("candidate", "a:B", {}, (1, 4, 2, 3), ("slopes",))
    assert read_answer({"slopes": []}, "candidate", run).slopes == ()
    assert read_answer({"slopes": [[0.5, 1], [1.0, 2.0, 3.0]]}, "candidate", run).slopes == (
        (0.5, 1.0),
        (1.0, 2.0, 3.0),
    )
    with pytest.raises(WorkerFailed, match="gave an answer of the wrong shape"):
        read_answer({"slopes": slopes}, "candidate", run)


def _pass_with(*samples: float) -> WorkerAnswer:
    outputs = tuple(
        WorkerOutput(str(place), (1,), "float32", samples=(value,), norm=1.0) for place, value in enumerate(samples)
    )
    return WorkerAnswer(passes={"train": Pass("tuple", outputs, D, {})})


@pytest.mark.parametrize(
    ("far", "again", "code"),
    [
        ((2.0, 0.02), (1.5, 0.01), "VC505"),
        # one of two outputs does not move by itself, or moves no further than rounding does, or far less
        ((2.0, 0.02), (1.5, 0.0), "VC506"),
        ((2.0, 0.0009), (1.5, 0.00009), "VC506"),
        ((2.0, 0.02), (0.05, 0.01), "VC506"),
        ((float("inf"), 0.02), (1.5, 0.01), "VC506"),
    ],
)
def test_what_is_far_from_a_record_is_empty_where_it_moves_as_far_by_itself(
    far: tuple[float, ...], again: tuple[float, ...], code: str
) -> None:
    names = ("first", "second")
    amounts = tuple(Amount(name, value, 1.0) for name, value in zip(names, far, strict=True))
    failure = Failure("VC506", "in train mode first is not what was recorded", CASE, mode="train", amounts=amounts)
    worker, package = Nudged(), Unchecked()
    judgement = Judgement((failure, Failure("VC111", "other shapes", CASE)))
    told = (Run("candidate", "a:B", {}, (1,), ("train",)), _pass_with(0.0, 0.0), judgement)
    package.answer = _pass_with(*again)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("viscy_compat.references.agreement.read_answer", lambda json, side, run: package.answer)
        found = [*_without_chaos(cast("Worker", worker), cast("Candidate", package), told, names)]
    assert [row.code for row in found] == [code, "VC111"]
    assert ("the record of another processor says nothing" in found[0].message) is (code == "VC505")
    assert [request["nudge"] for request in worker.requests] == [True]


def test_nothing_is_asked_again_where_all_is_as_recorded() -> None:
    worker = Nudged()
    judgement = Judgement((Failure("VC111", "other shapes", CASE),))
    told = (Run("candidate", "a:B", {}, (1,), ("train",)), _pass_with(0.0), judgement)
    assert [*_without_chaos(cast("Worker", worker), Candidate(), told, ())] == [*judgement.failures]
    assert worker.requests == []


class Nudged:
    """A worker that notes what it is asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def request(self, message: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(message)
        return {}


class Unchecked:
    """A candidate that believes every answer."""

    answer: WorkerAnswer

    def check(self, worker: object, answer: WorkerAnswer) -> WorkerAnswer:
        return answer
