"""A plan file says exactly what the plan says, folded; anything else in it is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plans import plans
from viscy_compat.errors import CompatError, NoPlanFile, PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Rename
from viscy_compat.plans import plan_file
from viscy_compat.plans.plan import Plan, PlanEnd, identity_rows, layout_digest, plan_of
from viscy_compat.plans.plan_file import dumps, loads, plan_id, read_plan

LAYOUT = {f"stages.{i}.blocks.{j}.gamma": TensorSpec((4,)) for i in range(3) for j in range(2 + i)}


def plan_data() -> dict[str, Any]:
    """The JSON of a small plan."""
    data: dict[str, Any] = json.loads(dumps(plan_of(PlanEnd(LAYOUT), PlanEnd(LAYOUT), identity_rows(LAYOUT))))
    return data


@given(plans())
def test_a_plan_comes_back_equal(plan: Plan) -> None:
    again = loads(dumps(plan))
    assert again == plan
    assert (dumps(again), plan_id(again)) == (dumps(plan), plan_id(plan))


def test_a_known_layout_folds_to_one_row() -> None:
    assert plan_data()["operations"] == [
        {"op": "rename", "source": "stages.{i}.blocks.{j}.gamma", "target": "stages.{i}.blocks.{j}.gamma"}
    ]


def test_a_swap_of_two_indices_survives_folding() -> None:
    layout = {f"a.{i}.{j}": TensorSpec((i, j)) for i in range(1, 4) for j in range(1, 4)}
    turned = {f"b.{j}.{i}": spec for (name, spec) in layout.items() for _, i, j in [name.split(".")]}
    rows = [Rename(name, "b." + ".".join(reversed(name.split(".")[1:]))) for name in layout]
    plan = plan_of(PlanEnd(layout), PlanEnd(turned), rows)
    assert len(json.loads(dumps(plan))["operations"]) == 1
    assert loads(dumps(plan)) == plan


@pytest.mark.uncounted
def test_twenty_thousand_tensors_fold_and_unfold() -> None:
    layout = {f"layers.{i}.{part}": TensorSpec((2,)) for i in range(10_000) for part in ("weight", "bias")}
    shifted = {f"layers.{int(name.split('.')[1]) + 1}.{name.split('.')[2]}": layout[name] for name in layout}
    plan = plan_of(PlanEnd(layout), PlanEnd(shifted), map(Rename, layout, shifted))
    assert loads(dumps(plan)) == plan


def change(path: str, value: Any) -> dict[str, Any]:
    """The plan with one field set; ``...`` takes it away."""
    data = plan_data()
    *parents, last = path.split("/")
    place: Any = data
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


MALFORMED = {
    "an unknown field": ("path", "/etc/passwd", "the plan has a field 'path' that is not known"),
    "an unknown field in a side": ("source/file", "../x", "source has a field 'file' that is not known"),
    "an unknown field in a row": ("operations/0/why", "", "operation 0 has a field 'why' that is not known"),
    "a missing field": ("operations", ..., "the plan has no field 'operations'"),
    "another schema": ("schema", 2, "the plan has schema 2; this version reads 1"),
    "a true schema": ("schema", True, "the plan has schema True; this version reads 1"),
    "an unknown operation": ("operations/0/op", "exec", "operation 0: 'op' must be one of"),
    "a name that is no text": ("operations/0/source", 3, "operation 0: 'source' is no text"),
    "rows that are no list": ("operations", {}, "operations must be a list"),
    "a shape of floats": ("source/tensors/x", ["float32", [1.5]], "source: 'x' must be a whole number, 0 or more"),
    "a true in a shape": ("source/tensors/x", ["float32", [True]], "source: 'x' must be a whole number, 0 or more"),
    "an edited layout": ("target/tensors/x", ["float32", [1]], "the tensors do not have the digest"),
    "a pattern that matches nothing": (
        "operations/0/source",
        "stem.{i}.{j}",
        "operation 0: 'stem.{i}.{j}' matches no tensor",
    ),
    "a variable from nowhere": ("operations/0/target", "a.{k}", "does not say what {k} is"),
    "a lone brace": ("operations/0/target", "stages.{0}.{i}.{j}", "has a brace that stands alone"),
    "a plan that is not total": ("operations", [], "no total plan"),
    "a configuration that is a list": ("target/config", [], "target: 'config' is no object"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_a_plan_file_may_not_say_is_refused(case: str) -> None:
    path, value, message = MALFORMED[case]
    with pytest.raises(PlanRefused, match=re.escape(message)) as caught:
        loads(json.dumps(change(path, value)), where="p.json")
    assert str(caught.value).startswith("p.json: ")
    # a whole plan that leaves tensors out is refused; everything else is no plan at all
    assert caught.value.exit_code == (1 if message == "no total plan" else 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema": 1, "schema": 1}', "'schema' stands twice in one object"),
        (json.dumps(dict.fromkeys(map(str, range(20_000)), 0))[:-1] + ', "y": 1, "y": 1}', "'y' stands twice"),
        ('{"schema": NaN}', "NaN is no number"),
        ("1" * 5000, "this is no plan|the plan is no object"),
    ],
)
def test_text_that_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(NoPlanFile, match=message):
        loads(text)


@given(st.data())
def test_any_field_of_any_wrong_type_is_refused_in_words(data: st.DataObject) -> None:
    found = plan_data()
    place: Any = found
    while True:
        key = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        if not (isinstance(place[key], dict | list) and place[key]) or data.draw(st.booleans()):
            break
        place = place[key]
    good = place[key]
    place[key] = data.draw(
        st.sampled_from([None, True, -1, 1.5, "", "x", [], {}, [None], 10**400]).filter(lambda x: x != good)
    )
    with pytest.raises(CompatError):
        loads(json.dumps(found))


@pytest.mark.parametrize("shape", [[2**63], [10**4000], [1] * 65, [10**4000] * 9])
def test_a_shape_that_no_tensor_has_is_refused_before_it_is_counted(shape: list[int]) -> None:
    data = plan_data()
    data["operations"].append(
        {"op": "fill", "target": "new", "shape": shape, "dtype": "float32", "value": 0, "reason": "-"}
    )
    with pytest.raises(PlanRefused, match=r"below 2\^63|no tensor has more than 64"):
        loads(json.dumps(data))
    data["operations"][-1]["shape"] = [2**63 - 1] * 64
    with pytest.raises(PlanRefused, match=r"no total plan|matches no tensor|new"):
        loads(json.dumps(data))


def test_a_dtype_that_no_file_can_hold_is_refused_like_any_other_that_is_wrong() -> None:
    """A lone surrogate is valid in JSON, as the escape that it is, and cannot be encoded."""
    data = plan_data()
    data["source"]["tensors"] = {"w": ["\ud800", [2]]}
    with pytest.raises(PlanRefused, match="source: the tensors do not have the digest"):
        loads(json.dumps(data))


def test_a_file_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "binary", tmp_path / "absent", tmp_path):
        with pytest.raises(CompatError, match="binary|absent|" + tmp_path.name):
            read_plan(str(path))


def test_a_plan_file_is_bounded_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    path.write_text(dumps(plan_of(PlanEnd(LAYOUT), PlanEnd(LAYOUT), identity_rows(LAYOUT))))
    read_plan(str(path))
    text = path.read_text()
    monkeypatch.setattr(plan_file, "MOST_VALUES", sum(map(text.count, ":,[{")) - 1)
    with pytest.raises(NoPlanFile, match="names and values are too many for a plan; at most"):
        read_plan(str(path))
    monkeypatch.setattr(plan_file, "LONGEST", len(text) - 1)
    with pytest.raises(NoPlanFile, match="bytes are too many for a plan; at most"):
        read_plan(str(path))


def test_a_plan_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = plan_of(PlanEnd(LAYOUT), PlanEnd(LAYOUT), identity_rows(LAYOUT))
    (tmp_path / "plan.json").write_text(dumps(plan))
    assert read_plan(str(tmp_path / "plan.json")) == plan
    assert plan_data()["source"]["layout"] == layout_digest(LAYOUT)
