"""From a layout to class, generation and configuration, on two made-up classes whose every rule is in sight."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.architectures import variant
from viscy_compat.architectures import ClassRow, inference, nearest_class
from viscy_compat.architectures.architecture import (
    Ambiguity,
    Architecture,
    Argument,
    Choice,
    Config,
    Floats,
    Generation,
    Integers,
    Release,
    Signature,
    complete,
    renames,
)
from viscy_compat.architectures.inference import Inference, RecentAnswers, identify, infer
from viscy_compat.architectures.nearest_class import Nearest, distance, nearest
from viscy_compat.architectures.vocabulary import Entries
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, Mismatch, TensorSpec

Shape = tuple[int, ...]


def rectangles(config: Config, stated: Config) -> Iterator[Config]:
    """Every way to cut the area of the head into rows and columns, the flattest first."""
    area = config["rows"] * config["columns"]
    for rows in [stated["rows"]] if "rows" in stated else range(1, area + 1):
        if area % rows == 0:
            yield {"rows": rows, "columns": area // rows}


def gains(config: Config, stated: Config) -> Iterator[Config]:
    yield {"gain": stated.get("gain", 1)}


class Stack(Architecture):
    """Layers of one width between a stem and a head; the head shows rows times columns."""

    name = "Stack"
    target = "made_up.Stack"
    arguments = (
        Argument("width", 4, Integers(1, 64)),
        Argument("depth", 2, Integers(1, 4)),
        Argument("act", "relu", Choice(("relu", "tanh")), about="what lies between the layers"),
        Argument("skip", False, Choice((False, True))),
        Argument("dropout", 0.1, Floats(0.0, 0.5), "training"),
        Argument("seed", 0, Choice((0, 1)), "initial weights"),
        Argument("rows", 1, Integers(1, 64)),
        Argument("columns", 6, Integers(1, 64)),
        Argument("gain", 1, Integers(1, 9)),
        Argument("bias", False, Choice((False, True))),
    )
    outputs = ("y",)
    cases = ()
    anchors = ("stem.weight", "head.weight", "nothing.weight")
    custom: tuple[tuple[str, str], ...] = ((".act.", "act was a module of the user's own"),)
    ambiguities: tuple[Ambiguity, ...] = (
        Ambiguity("rows", "predictions", "only the area is in the weights", rectangles),
        Ambiguity(
            "gain", "predictions", "it adds no tensor", gains, complete=False, certain=lambda config: config["skip"]
        ),
    )

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        signature = Signature(tuple((row.name, row.default) for row in self.arguments))
        tall = Release("1.0", "one", {}, signature, {"rows": 3, "gain": 2})
        flat = Release("1.1", "two", {}, Signature((("width", 4), ("depth", 2))), {"rows": 2, "gain": 2})
        today = Release("2.0", "three", {}, signature)
        return (
            Generation("v1", "old", "Stack", "1.0 and 1.1", (tall, flat), self.before, self.to_today, ("a loss",)),
            Generation("v2", "made_up", "Stack", "2.0", (today,), self.layout),
        )

    def before(self, config: Config) -> Layout:
        return {name.replace("layers", "trunk"): spec for name, spec in self.layout(config).items()}

    def to_today(self, layout: Layout) -> Any:
        return renames(layout, {"trunk": "layers"})

    def footprint(self, config: Config) -> tuple[Any, ...]:
        if config["width"] == 13:
            raise Unbuildable("thirteen is no width")
        return config["width"], config["depth"], config["rows"] * config["columns"], config["bias"]

    def tensors(self, footprint: Any) -> Entries:
        width, depth, area, bias = footprint
        yield "stem.weight", TensorSpec((width, 3))
        for place in range(depth):
            yield f"layers.{place}.weight", TensorSpec((width, width))
            if bias:
                yield f"layers.{place}.bias", TensorSpec((width,))
            yield f"layers.{place}.num_batches_tracked", TensorSpec((), "int64")
        yield "head.act.weight", TensorSpec((width,))
        yield "head.weight", TensorSpec((area, width))

    def candidates(self, layout: Layout) -> Iterator[Config]:
        if "stem.weight" not in layout and "head.weight" not in layout:
            return
        depth = sum(name.endswith(".weight") and name.startswith(("layers.", "trunk.")) for name in layout)
        width = layout["stem.weight"].shape[0] if "stem.weight" in layout else layout["head.weight"].shape[-1]
        head = layout.get("head.weight")
        area = head.shape[0] if head else 6
        yield {"width": width, "depth": min(max(depth, 1), 4), "rows": 1, "columns": area}
        if "layers.0.bias" in layout:
            yield {"width": width, "depth": min(max(depth, 1), 4), "rows": 1, "columns": area, "bias": True}

    def input_shape(self, config: Config) -> Shape:
        return (2, 3)

    def refusal(self, config: Config, shape: Shape) -> str:
        return ""

    def output_shapes(self, config: Config, shape: Shape) -> dict[str, Shape]:
        return {"y": (shape[0], config["rows"], config["columns"])}

    def idle(self, config: Config) -> tuple[str, ...]:
        return ("skip",) if config["depth"] == 1 else ()

    def notes(self, config: Config) -> tuple[str, ...]:
        return (f"{config['depth']} layers",)

    def spelling(self, stated: Config, config: Config) -> Config:
        return {name: int(value) if value == "four" else value for name, value in stated.items() if value != "four"} | {
            name: 4 for name, value in stated.items() if value == "four"
        }


class Tower(Stack):
    """The same behind another stem, which shows the width alone."""

    name = "Tower"
    target = "made_up.Tower"
    ambiguities = ()
    custom = ()

    def tensors(self, footprint: Any) -> Entries:
        yield "foundation.weight", TensorSpec((footprint[0], 7))
        yield from super().tensors(footprint)


STACK, TOWER = Stack(), Tower()
BY_NAME: dict[str, Architecture] = {"Stack": STACK, "Tower": TOWER}
ROWS = (
    ClassRow("Stack", "stack", ("stem.weight", "head.weight")),
    ClassRow("Tower", "tower", ("foundation.weight", "head.weight")),
)
asked: list[str] = []


@pytest.fixture(autouse=True)
def made_up_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two classes are known, and which of them was looked into is noted."""

    def find(name: str) -> Architecture:
        asked.append(name)
        return BY_NAME[name]

    asked.clear()
    for module in (inference, nearest_class):
        monkeypatch.setattr(module, "CLASSES", ROWS)
        monkeypatch.setattr(module, "find", find)


def layout(architecture: Architecture = STACK, **config: Any) -> Layout:
    return architecture.layout(complete(architecture, config))


def known(found: Inference | None) -> Inference:
    assert found is not None
    return found


def near(found: Nearest | None) -> Nearest:
    assert found is not None
    return found


def opens(found: Inference) -> dict[str, list[Any]]:
    """The open arguments with the values that each could have, the assumed one first."""
    return {row.name: [option[row.name] for option in row.candidates] for row in found.undetermined}


def without(whole: Layout, *names: str) -> Layout:
    return {name: spec for name, spec in whole.items() if name not in names}


def test_a_layout_is_recognised_with_every_argument() -> None:
    found = known(infer(STACK, layout(width=8, depth=3, rows=2, columns=5)))
    assert (found.architecture, found.generation.name) == (STACK, "v2")
    assert found.config == {
        "width": 8,
        "depth": 3,
        "act": "relu",
        "skip": False,
        "dropout": 0.1,
        "seed": 0,
        "rows": 1,
        "columns": 10,
        "gain": 1,
        "bias": False,
    }
    assert (found.contradictions, found.unknown, found.retyped, found.reordered, found.uncounted) == (
        (),
        (),
        (),
        False,
        (),
    )
    assert found.evidence == ("stem.weight (8, 3)", "head.weight (10, 8)", "3 layers")
    assert found.written == layout(width=8, depth=3, rows=1, columns=10)


def test_an_older_layout_is_of_its_generation() -> None:
    config = complete(STACK, {"width": 5, "rows": 2, "columns": 3})
    found = known(infer(STACK, STACK.before(config)))
    assert found.generation.name == "v1"
    assert found.written == STACK.before(config)
    assert opens(found)["rows"] == [3, 2]
    # each release had it at one value: both are tried, and another is not what a release could have had
    assert [
        dict(row) for row in found.undetermined[[row.name for row in found.undetermined].index("rows")].candidates
    ] == [
        {"rows": 3, "columns": 2},
        {"rows": 2, "columns": 3},
    ]
    assert "gain" not in opens(found)
    assert found.config["gain"] == 2


def test_a_release_is_ruled_out_by_what_is_stated() -> None:
    old = STACK.before(complete(STACK, {"rows": 2, "columns": 3}))
    found = known(infer(STACK, old, {"rows": 2}))
    assert (found.config["rows"], found.config["columns"]) == (2, 3)
    assert "rows" not in opens(found)
    found = known(infer(STACK, old, {"rows": 6}))
    assert [row.stated for row in found.contradictions] == [{"rows": 6}]


def test_a_release_whose_defaults_the_file_meets_comes_first() -> None:
    old = STACK.before(complete(STACK, {"width": 5, "depth": 3, "rows": 2, "columns": 3}))
    assert opens(known(infer(STACK, old)))["rows"][0] == 3
    flipped = variant(STACK, generations=(STACK.generations[0]._replace(releases=STACK.generations[0].releases[::-1]),))
    assert opens(known(infer(flipped, old)))["rows"][0] == 3


def test_what_adds_no_tensor_is_open_with_its_effect() -> None:
    found = known(infer(STACK, layout(depth=2)))
    rows = {row.name: row for row in found.undetermined}
    assert list(rows) == ["act", "skip", "dropout", "rows", "gain"]
    assert opens(found) == {
        "act": ["relu", "tanh"],
        "skip": [False, True],
        "dropout": [0.1, 0.0, 0.5],
        "rows": [1, 2, 3, 6],
        "gain": [1],
    }
    assert {name: row.effect for name, row in rows.items()} == {
        "act": "predictions",
        "skip": "predictions",
        "dropout": "training",
        "rows": "predictions",
        "gain": "predictions",
    }
    assert {name: row.complete for name, row in rows.items()} == {
        "act": True,
        "skip": True,
        "dropout": False,
        "rows": True,
        "gain": False,
    }
    assert [row.changes_predictions for row in found.undetermined] == [True, True, False, True, True]
    assert rows["act"].why == "it adds no tensor, so that the weights are the same with every value"
    assert rows["dropout"].why == "it adds no tensor and acts in train mode only"
    assert rows["rows"].why == "only the area is in the weights"
    assert rows["rows"].assumed == 1
    assert rows["rows"].candidates[1] == {"rows": 2, "columns": 3}
    assert rows["act"].to_dict() == {
        "assumed": "relu",
        "candidates": [{"act": "relu"}, {"act": "tanh"}],
        "changes_predictions": True,
        "complete": True,
        "why": rows["act"].why,
    }


def test_what_a_configuration_does_not_read_changes_nothing() -> None:
    rows = {row.name: row for row in known(infer(STACK, layout(depth=1))).undetermined}
    assert (rows["skip"].effect, rows["skip"].why) == ("nothing", "this configuration does not read it")
    assert not rows["skip"].changes_predictions


def test_a_single_value_that_fits_is_certain_where_the_class_says_so() -> None:
    assert "gain" in opens(known(infer(STACK, layout())))
    found = known(infer(STACK, layout(), {"skip": True}))
    assert (found.config["skip"], "gain" in opens(found), "skip" in opens(found)) == (True, False, False)


@pytest.mark.parametrize("change", [{"complete": True}, {"effect": "training"}])
def test_a_single_value_that_is_all_there_is_or_changes_no_prediction_is_not_open(change: dict[str, Any]) -> None:
    rows, gain = STACK.ambiguities
    assert "gain" not in opens(known(infer(variant(STACK, ambiguities=(rows, gain._replace(**change))), layout())))


def test_one_argument_of_two_ambiguities_is_open_once() -> None:
    twice = variant(STACK, ambiguities=(*STACK.ambiguities, STACK.ambiguities[0]))
    assert [row.name for row in known(infer(twice, layout())).undetermined].count("rows") == 1


def test_what_is_stated_is_taken_where_it_fits() -> None:
    found = known(infer(STACK, layout(), {"act": "tanh", "rows": 3, "gain": 7, "dropout": 0.3}))
    assert {name: found.config[name] for name in ("act", "rows", "columns", "gain", "dropout")} == {
        "act": "tanh",
        "rows": 3,
        "columns": 2,
        "gain": 7,
        "dropout": 0.3,
    }
    assert opens(found) == {"skip": [False, True]}
    assert found.contradictions == ()


def test_what_is_stated_and_unknown_is_listed() -> None:
    assert known(infer(STACK, layout(), {"colour": "red", "act": "tanh"})).unknown == ("colour",)


def test_another_spelling_is_read_as_the_class_reads_it() -> None:
    found = known(infer(STACK, layout(), {"width": "four"}))
    assert (found.config["width"], found.contradictions) == (4, ())


def test_a_stated_value_that_needs_other_shapes_is_a_contradiction() -> None:
    found = known(infer(STACK, layout(width=8, depth=1), {"width": 9}))
    (row,) = found.contradictions
    assert (row.stated, row.shown, row.why) == ({"width": 9}, {"width": 8}, "4 tensors would have other shapes")
    assert row.mismatches[0] == Mismatch("stem.weight", TensorSpec((8, 3)), TensorSpec((9, 3)))
    assert found.config["width"] == 8


def test_a_stated_value_that_needs_other_tensors_is_a_contradiction() -> None:
    (row,) = known(infer(STACK, layout(depth=2), {"depth": 3})).contradictions
    assert (row.stated, row.shown, row.why, row.mismatches) == (
        {"depth": 3},
        {"depth": 2},
        "other tensors would be there",
        (),
    )


def test_a_stated_value_that_cannot_be_built_is_a_contradiction_in_the_words_of_the_class() -> None:
    (row,) = known(infer(STACK, layout(), {"width": 13})).contradictions
    assert (row.stated, row.shown, row.why, row.mismatches) == ({"width": 13}, {"width": 4}, "thirteen is no width", ())


def test_what_is_no_value_of_its_argument_is_a_contradiction() -> None:
    found = known(infer(STACK, layout(), {"width": "wide", "act": 3}))
    assert [(row.stated, row.shown, row.why) for row in found.contradictions] == [
        ({"width": "wide"}, {"width": 4}, "'wide' is no value that width takes"),
        ({"act": 3}, {"act": "relu"}, "3 is no value that act takes"),
    ]
    assert (found.config["width"], found.config["act"]) == (4, "relu")
    assert "act" in opens(found)


def test_a_joint_value_that_does_not_fit_is_contradicted_and_then_open() -> None:
    found = known(infer(STACK, layout(), {"rows": 4}))
    (row,) = found.contradictions
    assert (row.stated, row.shown) == ({"rows": 4}, {"rows": 1})
    assert row.mismatches == (Mismatch("head.weight", TensorSpec((6, 4)), TensorSpec((24, 4))),)
    assert opens(found)["rows"] == [1, 2, 3, 6]


def test_two_joint_values_are_heard_together() -> None:
    rows, gain = STACK.ambiguities
    both = variant(STACK, ambiguities=(rows, rows._replace(name="columns"), gain))
    found = known(infer(both, layout(), {"rows": 2, "columns": 3}))
    assert (found.config["rows"], found.config["columns"], found.contradictions) == (2, 3, ())
    assert {"rows", "columns"} & {*opens(found)} == set()
    found = known(infer(both, layout(), {"columns": 2}))
    assert (found.config["rows"], found.config["columns"]) == (3, 2)
    found = known(infer(both, layout(), {"rows": 2, "columns": 2}))
    assert [(row.stated, row.shown) for row in found.contradictions] == [
        ({"rows": 2, "columns": 2}, {"rows": 1, "columns": 6})
    ]
    assert opens(found)["rows"] == [1, 2, 3, 6]


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: without(whole, "stem.weight"),
        lambda whole: without(whole, "layers.0.weight"),
        lambda whole: {**whole, "more.weight": TensorSpec((1,))},
        lambda whole: {**whole, "head.act.weight": TensorSpec((5,))},
        lambda whole: {**without(whole, "head.act.weight"), "other": TensorSpec((4,))},
        lambda whole: {**without(whole, "layers.0.num_batches_tracked"), "other": TensorSpec((), "int64")},
        lambda whole: {},
    ],
)
def test_a_layout_that_is_not_quite_the_classs_is_not_accepted(change: Any) -> None:
    assert infer(STACK, change(layout())) is None


def test_batch_counters_may_be_missing() -> None:
    counters = ("layers.0.num_batches_tracked", "layers.1.num_batches_tracked")
    found = known(infer(STACK, without(layout(), *counters)))
    assert (found.uncounted, found.reordered) == (counters, False)
    assert found.written == layout(columns=6)
    assert known(infer(STACK, without(layout(), counters[1]))).uncounted == counters[1:]


def test_order_and_dtypes_are_said_apart() -> None:
    whole = layout()
    turned = known(infer(STACK, dict(reversed(whole.items()))))
    assert (turned.reordered, turned.retyped) == (True, ())
    half = {**whole, "stem.weight": TensorSpec((4, 3), "float16")}
    found = known(infer(STACK, half))
    assert (found.reordered, found.retyped) == (
        False,
        (Mismatch("stem.weight", TensorSpec((4, 3), "float16"), TensorSpec((4, 3))),),
    )


def test_a_candidate_that_cannot_be_built_is_passed_over() -> None:
    class Careless(Stack):
        def candidates(self, layout: Layout) -> Iterator[Config]:
            yield {"width": 13}
            yield from super().candidates(layout)

    assert known(infer(Careless(), layout(width=8))).config["width"] == 8


def test_only_classes_that_share_a_telling_name_are_looked_into() -> None:
    assert known(identify(layout())).architecture is STACK
    assert asked == ["Stack"]
    asked.clear()
    assert known(identify(layout(TOWER))).architecture is TOWER
    assert asked == ["Stack", "Tower"]
    asked.clear()
    assert identify({"a.weight": TensorSpec((3, 2))}) is None
    assert asked == []


def test_a_class_whose_telling_name_changed_is_tried_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (ClassRow("Tower", "tower", ("foundation.weight", "gone")), ROWS[0], ClassRow("Tower", "tower", ("never",)))
    monkeypatch.setattr(inference, "CLASSES", rows)
    assert known(identify(layout(TOWER))).architecture is TOWER
    assert asked == ["Stack", "Tower"]


def test_a_class_is_known_by_the_names_of_an_older_layout_or_is_always_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "CLASSES", (ClassRow("Stack", "stack", ("new",), before=("stem.weight",)),))
    assert known(identify(layout())).architecture is STACK
    monkeypatch.setattr(inference, "CLASSES", (ClassRow("Stack", "stack"),))
    assert known(identify(layout())).architecture is STACK
    assert identify({}) is None


def test_what_is_stated_is_heard_when_a_class_is_looked_for() -> None:
    assert known(identify(layout(), {"act": "tanh"})).config["act"] == "tanh"


def test_the_nearest_lacks_one_tensor() -> None:
    found = near(nearest(without(layout(width=8, depth=3), "layers.1.weight")))
    assert (found.architecture, found.generation.name) == (STACK, "v2")
    assert found.differences.missing == ("layers.1.weight",)
    assert (found.config["width"], found.config["depth"]) == (8, 3)
    assert (distance(found.differences), found.shared) == (1, len(layout(depth=3)) - 1)
    assert str(found) == "Stack (v2) but for 1 key"
    assert found.custom == ""


def test_the_nearest_of_an_older_generation_is_named() -> None:
    old = without(STACK.before(complete(STACK, {"width": 8, "depth": 3})), "trunk.1.weight")
    found = near(nearest(old))
    assert (found.generation.name, found.differences.missing) == ("v1", ("trunk.1.weight",))


def test_a_tensor_that_misleads_is_read_without() -> None:
    odd = {**layout(width=8), "stem.weight": TensorSpec((9, 3))}
    found = near(nearest(odd))
    assert found.config["width"] == 8
    assert found.differences.reshaped == (Mismatch("stem.weight", TensorSpec((9, 3)), TensorSpec((8, 3))),)
    assert (found.shared, distance(found.differences)) == (len(odd) - 1, 1)


def test_arguments_are_tried_one_after_the_other_as_long_as_it_comes_nearer() -> None:
    whole = layout(width=8, depth=3, bias=True)
    found = near(nearest(without(whole, "layers.0.bias")))
    assert (found.config["bias"], found.config["depth"]) == (True, 3)
    assert found.differences.missing == ("layers.0.bias",)


def test_a_module_of_the_users_own_is_called_by_its_name() -> None:
    own = {**without(layout(), "head.act.weight"), "head.act.beta": TensorSpec((1,))}
    assert near(nearest(own)).custom == "act was a module of the user's own"
    reshaped = {**layout(), "head.act.weight": TensorSpec((5,))}
    assert near(nearest(reshaped)).custom == "act was a module of the user's own"
    none = without(layout(), "head.act.weight")
    assert near(nearest(none)).custom == "act was a module of the user's own"
    assert near(nearest({**layout(), "more": TensorSpec((1,))})).custom == ""
    never = variant(STACK, custom=((".norm.", "norm was"),))
    BY_NAME["Stack"] = never
    try:
        assert near(nearest({**layout(), "more": TensorSpec((1,))})).custom == ""
    finally:
        BY_NAME["Stack"] = STACK


def test_at_least_half_of_the_names_must_be_there() -> None:
    whole = layout(depth=3)
    names = list(whole)
    half = without(whole, *names[1 : 1 + len(names) // 2])
    assert nearest(half) is None or 2 * len(near(nearest(half)).differences.missing) <= len(names)
    assert nearest({"stem.weight": TensorSpec((4, 3))}) is None
    assert nearest({}) is None


def test_the_class_with_more_of_its_telling_names_comes_first() -> None:
    tower = without(layout(TOWER, width=8, depth=4), "layers.0.weight")
    found = near(nearest(tower))
    assert (found.architecture, found.differences.missing) == (TOWER, ("layers.0.weight",))


def test_a_class_that_has_all_of_another_may_lack_a_telling_name() -> None:
    tower = without(layout(TOWER, width=8), "head.weight")
    found = near(nearest(tower))
    assert (found.architecture, found.differences.missing) == (TOWER, ("head.weight",))


def test_a_stated_class_is_compared_whatever_the_names() -> None:
    other = {
        name.replace("stem", "trunk").replace("head.weight", "tail.weight"): spec for name, spec in layout().items()
    }
    assert nearest(other) is None
    stack = {**without(layout(), "stem.weight"), "other.weight": TensorSpec((4, 3))}
    found = near(nearest(stack, "Stack"))
    assert (found.differences.missing, found.differences.unexpected) == (("stem.weight",), ("other.weight",))
    assert str(found) == "Stack (v2) but for 2 keys"
    asked.clear()
    nearest(stack, "Tower")
    assert "Stack" not in asked[:1]


def test_the_distance_counts_what_is_missing_too_many_or_of_another_shape() -> None:
    odd = {
        **without(layout(depth=4), "layers.2.weight"),
        "stem.weight": TensorSpec((4, 9)),
        "a": TensorSpec((1,)),
        "b": TensorSpec((1,)),
    }
    found = near(nearest(odd)).differences
    assert (len(found.missing), len(found.unexpected), len(found.reshaped)) == (1, 2, 1)
    assert distance(found) == 4


@given(st.lists(st.sampled_from("abcde"), max_size=30), st.integers(0, 4))
def test_what_was_asked_longest_ago_is_forgotten(questions: list[str], most: int) -> None:
    answers, kept = RecentAnswers(most=most), list[str]()
    for question in questions:
        found: list[str] = []

        def find(question: str = question, found: list[str] = found) -> str | None:
            found.append(question)
            # that nothing was found is an answer, too, and two questions may have one
            return None if question in "ab" else question.upper()

        assert answers.answer(question, find) == (None if question in "ab" else question.upper())
        assert bool(found) == (question not in kept)
        kept = [*(other for other in kept if other != question), question]
        kept = kept[-most:] if most else []
