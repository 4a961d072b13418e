"""Whatever a file's tensors are called: its configuration is right or asked for, and so is each tensor's place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.renaming import PREFIXES, STYLES, renamed
from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.bags import TooManyWays, bag_of
from viscy_compat.architectures.inference import infer
from viscy_compat.architectures.structure import Alike, alike
from viscy_compat.checkpoint.facts import View
from viscy_compat.errors import PlanRefused, Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.operations import Drop, Fill, Rename
from viscy_compat.plans.maker import infer_plan, route_to_class
from viscy_compat.plans.plan import PlanEnd
from viscy_compat.strategies import buildable

tales: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "style": st.sampled_from(sorted(STYLES)),
        "prefix": st.sampled_from(PREFIXES),
        "order": st.sampled_from(["registered", "sorted", "shuffled"]),
        "seed": st.integers(0, 1 << 16),
    }
)


def drawn(data: st.DataObject, name: str) -> tuple[Layout, dict[str, str]]:
    """A layout of some generation of a class, and a file's names for it; of those that differ in names alone the newest."""
    architecture = find(name)
    config = data.draw(buildable(name))
    layouts: list[Layout] = []
    for generation in reversed(architecture.generations):
        try:
            layout = generation.layout(config)
        except Unbuildable:
            continue
        if all(bag_of(layout.values()) != bag_of(newer.values()) for newer in layouts):
            layouts.append(layout)
    layout = data.draw(st.sampled_from(layouts))
    return layout, renamed(layout, **data.draw(tales))


def looked_at(name: str, here: Layout) -> list[Alike]:
    """What has these shapes; nothing where that is more than can be looked at."""
    try:
        return alike(find(name), here)
    except TooManyWays:
        return []


@pytest.mark.parametrize("name", class_names())
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_configuration_is_right_or_asked_for(name: str, data: st.DataObject) -> None:
    layout, truth = drawn(data, name)

    found = looked_at(name, {new: layout[old] for new, old in truth.items()})

    assert not found or any(one.layout == layout for one in found), [one.config for one in found]


@pytest.mark.parametrize("name", class_names())
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_plan_puts_every_tensor_where_it_belongs_or_there_is_none(name: str, data: st.DataObject) -> None:
    layout, truth = drawn(data, name)
    here = {new: layout[old] for new, old in truth.items()}
    found = looked_at(name, here)
    if len(found) != 1:
        return
    inference = infer(find(name), found[0].layout)
    assert inference is not None
    way = route_to_class(PlanEnd(here), View("", {new: new for new in here}), inference)
    try:
        plan = infer_plan(way).plan
    except PlanRefused:
        return

    moves: dict[str, Any] = {row.source: row.target for row in plan.operations if isinstance(row, Rename)}
    older = {row.target: row.source for row in plan.operations if isinstance(row, Rename)}
    assert all(isinstance(row, Rename | Fill) for row in plan.operations if not isinstance(row, Drop))
    to_today = inference.generation.to_today
    rows = to_today(layout) if to_today else tuple(Rename(old, old) for old in layout)
    expected = {row.source: row.target for row in rows if isinstance(row, Rename)}
    assert moves == {new: expected[old] for new, old in truth.items()}
    assert len(older) == len(moves)
