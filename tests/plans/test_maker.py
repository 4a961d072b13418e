"""The one place that makes plans: known, inferred and back, each total or refused with every leftover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Generation, complete
from viscy_compat.architectures.inference import Inference, infer
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.facts import View
from viscy_compat.checkpoint.wrapper import layout_of as seen_layout
from viscy_compat.checkpoint.wrapper import views_of
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import Cast, Drop, Fill, Operation, Rename, Split
from viscy_compat.plans.maker import (
    COUNTER,
    OUTSIDE,
    Route,
    fills_counters_alone,
    infer_plan,
    known_plan,
    plan_back,
    plan_source,
    route_to_class,
    rows_to_today,
    sources_of_view,
    unmade_by,
)
from viscy_compat.plans.plan import Plan, PlanEnd, identity_rows, plan_of

CONFIG: dict[str, Any] = {
    "backbone": "convnext_tiny",
    "in_channels": 2,
    "in_stack_depth": 15,
    "embedding_dim": 384,
    "projection_dim": 128,
}
ENCODER = find("ContrastiveEncoder")
COMPLETE = complete(ENCODER, CONFIG)
TODAY = dict(ENCODER.layout(COMPLETE))
RESNET = dict(layout_of("ResNet3dEncoder", backbone="resnet10"))
FLAT, WIDE, HALF = TensorSpec((4,)), TensorSpec((6, 4)), TensorSpec((4,), "float16")


def seen(path: Path, layout: Layout, *, prefix: str = "") -> tuple[Checkpoint, View]:
    """A file with this layout, and the view below a prefix."""
    checkpoint = open_checkpoint(str(hollow(path / "old.safetensors", layout)))
    return checkpoint, next(view for view in views_of(checkpoint) if view.prefix == prefix)


def known(checkpoint: Checkpoint, view: View, name: str) -> Inference:
    found = infer(find(name), seen_layout(checkpoint, view))
    assert found is not None
    return found


def moves(plan: Plan) -> dict[str, str]:
    return {row.source: row.target for row in plan.operations if isinstance(row, Rename)}


def end(**specs: TensorSpec) -> PlanEnd:
    return PlanEnd({name.replace("__", "."): spec for name, spec in specs.items()})


def test_a_file_of_todays_layout_keeps_its_names(tmp_path: Path) -> None:
    checkpoint, view = seen(tmp_path, TODAY)
    inference = known(checkpoint, view, "ContrastiveEncoder")
    plan = known_plan(checkpoint, view, inference, state_dict="ema")
    assert moves(plan) == {name: name for name in TODAY}
    assert (plan.changes, plan.loses) == ((), ())
    assert (plan.source.class_name, plan.source.generation, plan.source.state_dict) == (
        "ContrastiveEncoder",
        inference.generation.name,
        "ema",
    )
    assert (plan.target.class_name, plan.target.generation) == ("ContrastiveEncoder", ENCODER.generations[-1].name)
    assert plan.source.config == plan.target.config == inference.config
    assert plan.target.layout == TODAY


def test_a_plan_without_changes_is_what_the_rows_of_the_class_give(tmp_path: Path) -> None:
    """It is made without them where a file has today's layout; with the same answer for whoever asks again."""
    checkpoint, view = seen(tmp_path, TODAY)
    inference = known(checkpoint, view, "ContrastiveEncoder")
    plan = known_plan(checkpoint, view, inference)
    route = Route(plan.source, plan.target, inference=inference)
    assert plan == route.plan(rows_to_today(TODAY, inference))
    assert known_plan(checkpoint, view, inference) is plan
    assert known_plan(checkpoint, view, inference, state_dict="ema").source.state_dict == "ema"


@pytest.mark.parametrize("generation", [row for row in ENCODER.generations if row.to_today], ids=lambda row: row.name)
def test_a_file_of_an_older_layout_is_led_to_todays_by_its_rows(tmp_path: Path, generation: Generation) -> None:
    checkpoint, view = seen(tmp_path, generation.layout(COMPLETE))
    inference = known(checkpoint, view, "ContrastiveEncoder")
    plan = known_plan(checkpoint, view, inference)
    assert (plan.source.generation, plan.source.state_dict, plan.loses) == (generation.name, None, generation.loses)
    assert list(plan.target.layout) == list(TODAY)
    assert {name for row in plan.operations for name in [getattr(row, "target", "")] if name} == {*TODAY}
    assert plan.changes


def test_what_stands_outside_is_dropped_and_what_the_user_takes_out_says_so(tmp_path: Path) -> None:
    layout = {f"model.{name}": spec for name, spec in RESNET.items()}
    checkpoint, view = seen(tmp_path, {**layout, "loss.weight": WIDE, "ema.n_averaged": FLAT}, prefix="model.")
    inference = known(checkpoint, view, "ResNet3dEncoder")
    plan = known_plan(checkpoint, view, inference)
    drops = [row for row in plan.operations if isinstance(row, Drop)]
    assert [(row.source, row.reason, row.changes_predictions) for row in drops] == [
        ("loss.weight", OUTSIDE, False),
        ("ema.n_averaged", OUTSIDE, False),
    ]
    assert plan.loses == ()
    stated = known_plan(checkpoint, view._replace(dropped=("loss.weight",)), inference)
    (taken,) = (row for row in stated.operations if isinstance(row, Drop) and row.source == "loss.weight")
    assert (taken.changes_predictions, taken.reason.startswith("--drop says so")) == (True, True)
    assert stated.loses == ("changes predictions: tensors that compute are dropped (loss.weight)",)


def test_halves_are_cast_and_the_order_of_the_target_is_kept(tmp_path: Path) -> None:
    first = next(iter(RESNET))
    halved = {**RESNET, first: TensorSpec(RESNET[first].shape, "float16")}
    checkpoint, view = seen(tmp_path, dict(reversed(halved.items())))
    plan = known_plan(checkpoint, view, known(checkpoint, view, "ResNet3dEncoder"))
    assert [(row.source, row.target, row.dtype) for row in plan.operations if isinstance(row, Cast)] == [
        (first, first, "float32")
    ]
    assert list(plan.target.layout) == list(RESNET)
    assert plan.target.layout[first].dtype == "float32"


def test_counters_that_a_file_lacks_are_filled(tmp_path: Path) -> None:
    counters = [name for name in RESNET if name.endswith("num_batches_tracked")]
    checkpoint, view = seen(tmp_path, {name: spec for name, spec in RESNET.items() if name not in counters})
    inference = known(checkpoint, view, "ResNet3dEncoder")
    plan = known_plan(checkpoint, view, inference)
    fills = [row for row in plan.operations if isinstance(row, Fill)]
    assert [(row.target, row.shape, row.dtype, row.value, row.reason) for row in fills] == [
        (name, (), "int64", 0, COUNTER) for name in counters
    ]
    assert fills_counters_alone(plan)
    assert [type(row) for row in rows_to_today(seen_layout(checkpoint, view), inference)].count(Fill) == len(counters)


def test_other_changes_than_counters_are_more_than_torch_does_alone() -> None:
    here, there = end(a=FLAT), end(b=FLAT)
    assert not fills_counters_alone(plan_of(here, there, [Rename("a", "b")]))
    filled = plan_of(end(a=FLAT), end(a=FLAT, b=FLAT), [Rename("a", "a"), Fill("b", (4,), "float32", 0.0, "another")])
    assert not fills_counters_alone(filled)


def test_a_name_inside_and_outside_of_the_prefix_is_refused(tmp_path: Path) -> None:
    layout = {**{f"model.{name}": spec for name, spec in RESNET.items()}, "encoder.conv1.weight": WIDE}
    checkpoint, view = seen(tmp_path, layout, prefix="model.")
    with pytest.raises(PlanRefused) as caught:
        sources_of_view(checkpoint, view)
    assert caught.value.message == "1 name stands inside and outside of 'model.', as 'encoder.conv1.weight'"
    assert (caught.value.where, caught.value.fix) == (checkpoint.path, "save the one that is meant without the other")
    assert caught.value.leftovers == (
        ("encoder.conv1.weight", "source|stands outside 'model.' too, so that two tensors have this name"),
    )


def test_the_tensors_of_a_view_are_named_without_its_prefix_and_the_others_with_theirs(tmp_path: Path) -> None:
    checkpoint, view = seen(tmp_path, {"model.a": FLAT, "model.b": WIDE, "loss": HALF}, prefix="model.")
    sources = sources_of_view(checkpoint, view)
    assert sources.layout == {"a": FLAT, "b": WIDE, "loss": HALF}
    assert sources.keys == {"a": "model.a", "b": "model.b", "loss": "loss"}
    source = plan_source(checkpoint, view, state_dict="x")
    assert (source.layout, source.prefix, source.lacks, source.inner, source.state_dict) == (
        sources.layout,
        "model.",
        view.lacks,
        view.inner,
        "x",
    )


def test_a_route_knows_both_ends_and_what_is_looked_for(tmp_path: Path) -> None:
    checkpoint, view = seen(tmp_path, {**{f"model.{k}": v for k, v in RESNET.items()}, "loss": FLAT}, prefix="model.")
    inference = known(checkpoint, view, "ResNet3dEncoder")
    route = route_to_class(plan_source(checkpoint, view), view, inference)
    assert (route.here, route.outside, route.dropped) == (RESNET, ("loss",), ())
    assert route.there == inference.written
    assert (route.target.class_name, route.target.generation) == (
        "ResNet3dEncoder",
        find("ResNet3dEncoder").generations[-1].name,
    )
    assert Route(end(a=FLAT), end(b=FLAT)).there == {"b": FLAT}


@pytest.mark.parametrize("generation", ENCODER.generations, ids=lambda row: row.name)
def test_a_plan_back_is_the_inverse_of_the_one_there(tmp_path: Path, generation: Generation) -> None:
    checkpoint, view = seen(tmp_path, TODAY)
    inference = known(checkpoint, view, "ContrastiveEncoder")
    older = generation.layout(COMPLETE)
    rows = generation.to_today(older) if generation.to_today else identity_rows(older)
    back = plan_back(checkpoint, view, inference, generation)
    assert moves(back) == {row.target: row.source for row in rows if isinstance(row, Rename)}
    assert (back.target.generation, back.source.generation) == (generation.name, inference.generation.name)
    assert back.target.layout == older


def test_there_is_no_way_back_for_what_stands_outside(tmp_path: Path) -> None:
    checkpoint, view = seen(tmp_path, {**{f"model.{k}": v for k, v in RESNET.items()}, "loss": FLAT}, prefix="model.")
    inference = known(checkpoint, view, "ResNet3dEncoder")
    with pytest.raises(PlanRefused, match=r"old\.safetensors: 'loss' stands outside the model"):
        plan_back(checkpoint, view, inference, inference.generation)


def test_what_no_row_makes_of_an_older_layout_is_listed(tmp_path: Path) -> None:
    checkpoint, view = seen(tmp_path, TODAY)
    assert unmade_by(TODAY, known(checkpoint, view, "ContrastiveEncoder")) == ()
    for generation in ENCODER.generations:
        older = generation.layout(COMPLETE)
        inference = infer(ENCODER, older)
        assert inference is not None
        assert unmade_by(older, inference) == generation.unmade(older, TODAY)


def test_names_are_inferred_with_the_ground_of_each() -> None:
    route = Route(end(net__w=WIDE, net__b=FLAT), end(head__w=WIDE, head__b=FLAT))
    found = infer_plan(route)
    assert moves(found.plan) == {"net.w": "head.w", "net.b": "head.b"}
    assert {*found.grounds} == {"head.w", "head.b"}


def test_what_is_left_open_is_refused_with_every_alternative() -> None:
    route = Route(end(ka=FLAT, xu=FLAT, lone=WIDE), end(mi=FLAT, re=FLAT, new=TensorSpec((9,))))
    with pytest.raises(PlanRefused) as caught:
        infer_plan(route, where="a.ckpt")
    assert caught.value.where == "a.ckpt"
    assert caught.value.message.startswith("no total plan: 2 tensors of the target undecided (mi, re)")
    assert caught.value.fix == (
        "settle it with --hint OLD=NEW; "
        "another configuration (--set NAME=VALUE) or another file (--against FILE) may be what it fits; "
        "--drop NAME leaves a tensor out, and changes predictions"
    )
    undecided = "undecided between ka or xu: equal shapes, and nothing else tells them apart"
    assert caught.value.leftovers == (
        ("mi", f"target|{undecided}"),
        ("re", f"target|{undecided}"),
        ("lone", "source|the target has nothing of its shape"),
        ("new", "target|the file has nothing of its shape"),
    )


def test_dropping_is_not_offered_where_nothing_of_the_file_is_left_over() -> None:
    with pytest.raises(PlanRefused) as caught:
        infer_plan(Route(end(ka=FLAT, xu=FLAT), end(mi=FLAT, re=FLAT)))
    assert caught.value.fix == "settle it with --hint OLD=NEW, or with outputs that you have: --expect IO.safetensors"


@pytest.mark.parametrize(
    ("here", "there", "fix"),
    [
        (end(a=FLAT, more=WIDE), end(a=FLAT), "--drop NAME leaves a tensor out, and changes predictions"),
        (
            end(a=FLAT),
            end(a=FLAT, more=WIDE),
            "another configuration (--set NAME=VALUE) or another file (--against FILE) may be what it fits",
        ),
    ],
)
def test_no_hint_and_no_outputs_are_asked_for_where_nothing_is_undecided(
    here: PlanEnd, there: PlanEnd, fix: str
) -> None:
    with pytest.raises(PlanRefused) as caught:
        infer_plan(Route(here, there))
    assert caught.value.fix == fix


def test_a_line_lists_six_candidates() -> None:
    names = dict.fromkeys("abcdefgh", FLAT)
    others = dict.fromkeys(("ka", "xu", "lo", "mi", "re", "do", "za", "pe"), FLAT)
    with pytest.raises(PlanRefused) as caught:
        infer_plan(Route(PlanEnd(names), PlanEnd(others)))
    assert caught.value.leftovers[0][1].startswith("target|undecided between a or b or c or d or e or f: ")


def test_a_hint_or_a_trial_settles_it() -> None:
    route = Route(end(ka=FLAT, xu=FLAT), end(mi=FLAT, re=FLAT))
    assert moves(infer_plan(route, hints=("ka=re",)).plan) == {"ka": "re", "xu": "mi"}
    tried: list[dict[str, str]] = []

    def trial(plan: Plan) -> bool:
        tried.append(moves(plan))
        return moves(plan)["ka"] == "re"

    found = infer_plan(route, trial=trial)
    assert moves(found.plan) == {"ka": "re", "xu": "mi"}
    assert {*found.grounds.values()} == {"outputs"}
    assert tried == [{"ka": "mi", "xu": "re"}, {"ka": "re", "xu": "mi"}]


def test_names_that_nobody_knows_are_led_on_to_todays(tmp_path: Path) -> None:
    """An inferred plan gives the names of the file's generation, and from there the rows of the class lead on."""
    generation = next(row for row in ENCODER.generations if row.to_today)
    older = generation.layout(COMPLETE)
    inference = infer(ENCODER, older)
    assert inference is not None
    strange = {f"net.{name}": spec for name, spec in older.items()}
    view = View("", keys={name: name for name in strange})
    route = route_to_class(PlanEnd(strange), view, inference)
    plan = infer_plan(route).plan
    there = {row.source: row.target for row in rows_to_today(older, inference) if isinstance(row, Rename)}
    assert moves(plan) == {f"net.{name}": target for name, target in there.items()}
    assert list(plan.target.layout) == list(TODAY)


def test_computed_weights_are_refused_with_the_call_that_bakes_them() -> None:
    here = {"a.weight_orig": WIDE, "a.weight_mask": WIDE, "b.bias": FLAT}
    with pytest.raises(PlanRefused) as caught:
        infer_plan(Route(PlanEnd(here), end(x__weight=WIDE, b__bias=FLAT)), where="old.ckpt")
    assert caught.value.message == "no total plan: pruning on a, computed from a.weight_orig, a.weight_mask"
    assert caught.value.where == "old.ckpt"
    assert "prune.remove(model.a" in caught.value.fix
    assert caught.value.fix.endswith("; --drop NAME leaves tensors out, and changes predictions")
    assert caught.value.leftovers == (
        ("a.weight_orig", "source|pruning: orig * mask"),
        ("a.weight_mask", "source|pruning: orig * mask"),
    )


def test_the_same_computed_weights_on_both_sides_are_plain_names() -> None:
    both = {"a.weight_orig": WIDE, "a.weight_mask": WIDE}
    assert moves(infer_plan(Route(PlanEnd(both), PlanEnd(both))).plan) == {name: name for name in both}


def test_half_of_a_computed_weight_is_not_taken_for_a_plain_one() -> None:
    """The user drops the mask: what is left is still not the weight."""
    here = {"a.weight_orig": WIDE, "a.weight_mask": WIDE}
    route = Route(PlanEnd(here), end(a__weight=WIDE), outside=("a.weight_mask",), dropped=("a.weight_mask",))
    kept: tuple[Operation, ...] = infer_plan(route).plan.operations
    assert [type(row) for row in kept] == [Rename, Drop]
    assert not any(isinstance(row, Split) for row in kept)
