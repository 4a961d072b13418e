"""Optimizer state follows its parameters where it is certain which is whose, and is refused with the reason where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import viscy_compat
from support.files import layout_in
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Cast, Fill, Operation, Rename, Transpose
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SHAPES = {"a.weight": (2, 3), "a.bias": (2,), "b.weight": (4, 2), "b.bias": (4,)}
MOVED = {"b.weight": "first.weight", "b.bias": "first.bias", "a.weight": "second.weight", "a.bias": "second.bias"}
FILLED = "second.scale"


def trained(order: list[str], *, named: bool, groups: int = 1) -> tuple[dict[str, Any], Any]:
    """Parameters, and an optimizer over them in an order after one step."""
    torch.manual_seed(0)
    parameters = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}
    list_leftovers = [(name, parameters[name]) if named else parameters[name] for name in order]
    split = [list_leftovers[place::groups] for place in range(groups)]
    optimizer = torch.optim.AdamW([{"params": part} for part in split])
    sum((place + 1) * parameters[name].square().sum() for place, name in enumerate(SHAPES)).backward()
    optimizer.step()
    return {name: tensor.detach() for name, tensor in parameters.items()}, optimizer


def by_name(state: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The state as torch.distributed.checkpoint and FSDP have it."""
    group = {**state["param_groups"][0], "params": names}
    return {"state": {name: state["state"][place] for place, name in enumerate(names)}, "param_groups": [group]}


def plan_file(path: Path, source: Path, rows: list[Operation], extra: dict[str, TensorSpec] | None = None) -> Path:
    here = layout_in(source)
    there = {new: here[old] for old, new in MOVED.items()} | (extra or {})
    path.write_text(dumps(plan_of(PlanEnd(here), PlanEnd(there), rows)))
    return path


def remapped(tmp_path: Path, weights: dict[str, Any], optimizer: Any, *, fills: bool = False) -> dict[str, Any]:
    torch.save({"model": weights, "optimizer": optimizer}, tmp_path / "a.pt")
    rows: list[Operation] = [Rename(old, new) for old, new in MOVED.items()]
    extra = {FILLED: TensorSpec((2,))} if fills else {}
    rows += [Fill(name, (2,), "float32", 1.0, "neutral") for name in extra]
    plan = plan_file(tmp_path / "plan.json", tmp_path / "a.pt", rows, extra)
    viscy_compat.remap(tmp_path / "a.pt", tmp_path / "b.pt", plan=plan, force=True)
    loaded: dict[str, Any] = torch.load(tmp_path / "b.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize("named", [False, True])
def test_state_by_position_follows_and_names_that_agree_with_the_positions_too(tmp_path: Path, named: bool) -> None:
    weights, optimizer = trained(list(SHAPES), named=named)

    new = remapped(tmp_path, weights, optimizer.state_dict())

    targets = list(MOVED.values())
    assert list(new["model"]) == targets
    group = new["optimizer"]["param_groups"][0]
    assert group["params"] == [0, 1, 2, 3]
    assert group.get("param_names") == (targets if named else None)
    for place, old in enumerate(MOVED):
        before = optimizer.state_dict()["state"][list(SHAPES).index(old)]
        assert all(torch.equal(new["optimizer"]["state"][place][key], before[key]) for key in before)


def test_names_that_disagree_with_the_positions_are_not_trusted(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES), named=True)
    state = optimizer.state_dict()
    reverse = trained(list(SHAPES)[::-1], named=True)[1].state_dict()
    state["param_groups"][0]["param_names"] = reverse["param_groups"][0]["param_names"]

    with pytest.raises(PlanRefused, match="its param_names are not the parameters of the file in their order"):
        remapped(tmp_path, weights, state)


def test_state_by_name_follows_whatever_its_order_and_filled_parameters_have_none(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES), named=True)
    state = by_name(optimizer.state_dict(), list(SHAPES))
    state["state"] = dict(reversed(state["state"].items()))

    new = remapped(tmp_path, weights, state, fills=True)["optimizer"]

    assert new["state"].keys() == set(MOVED.values())
    for old, name in MOVED.items():
        assert all(torch.equal(new["state"][name][key], state["state"][old][key]) for key in state["state"][old])
    assert new["param_groups"][0]["params"] == [MOVED[name] for name in SHAPES] + [FILLED]
    assert new["param_groups"][0]["param_names"] == new["param_groups"][0]["params"]


def test_state_by_a_name_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES), named=False)
    state = by_name(optimizer.state_dict(), ["x", *list(SHAPES)[1:]])

    with pytest.raises(PlanRefused, match="it names parameters that the file does not have"):
        remapped(tmp_path, weights, state)


def test_several_groups_are_refused_by_position_and_carried_by_name(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES), named=False, groups=2)
    state = optimizer.state_dict()
    order = [*list(SHAPES)[0::2], *list(SHAPES)[1::2]]
    named = {"state": {name: state["state"][place] for place, name in enumerate(order)}}
    named["param_groups"] = [{**state["param_groups"][place], "params": order[2 * place :][:2]} for place in (0, 1)]  # type: ignore[assignment]

    with pytest.raises(PlanRefused, match="it has 2 parameter groups, and torch numbers the parameters group by group"):
        remapped(tmp_path, weights, state)
    new = remapped(tmp_path, weights, named)["optimizer"]

    assert [group["params"] for group in new["param_groups"]] == [
        ["second.weight", "first.weight"],
        ["second.bias", "first.bias"],
    ]
    assert torch.equal(new["state"]["first.bias"]["exp_avg"], named["state"]["b.bias"]["exp_avg"])


def test_moments_of_another_shape_than_the_parameter_are_refused(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES)[::-1], named=False)

    with pytest.raises(PlanRefused, match=r"its state for 'a.weight' has shape \(4,\), and the parameter \(2, 3\)"):
        remapped(tmp_path, weights, optimizer.state_dict())


def test_state_of_a_half_follows_its_cast_and_a_transposed_parameter_is_refused(tmp_path: Path) -> None:
    weights, optimizer = trained(list(SHAPES), named=False)
    weights = {name: tensor.half() for name, tensor in weights.items()}
    torch.save({"model": weights, "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    here = layout_in(tmp_path / "a.pt")
    there = {name: TensorSpec(spec.shape) for name, spec in here.items()}
    casts = plan_of(PlanEnd(here), PlanEnd(there), [Cast(name, name) for name in here])
    (tmp_path / "plan.json").write_text(dumps(casts))

    viscy_compat.remap(tmp_path / "a.pt", tmp_path / "b.pt", plan=tmp_path / "plan.json")

    new = torch.load(tmp_path / "b.pt", weights_only=True)["optimizer"]["state"]
    old = optimizer.state_dict()["state"]
    assert all(torch.equal(new[place]["exp_avg"], old[place]["exp_avg"]) for place in old)

    turned = {**here, "a.weight": TensorSpec((3, 2), "float16")}
    rows: list[Operation] = [Rename(name, name) for name in here if name != "a.weight"]
    plan = plan_of(PlanEnd(here), PlanEnd(turned), [*rows, Transpose("a.weight", "a.weight", (1, 0))])
    (tmp_path / "plan.json").write_text(dumps(plan))
    with pytest.raises(PlanRefused, match=r"'a\.weight' changes its shape"):
        viscy_compat.remap(tmp_path / "a.pt", tmp_path / "c.pt", plan=tmp_path / "plan.json")
