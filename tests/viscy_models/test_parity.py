"""Old and migrated classes do the same, byte for byte, over every verification case of the architectures.

Each side runs in a process of its own, with one thread and the seed set before every forward pass. The weights are
filled from the names of the tensors with values that all differ, by a strict load of a state dict of the other side's
layout, so that two tensors of one shape cannot take each other's place.
"""

from __future__ import annotations

from typing import Any

import pytest

from support.sides import Answer, Sides
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import AcceptedDifference, Architecture, Case, Config, complete

pytestmark = [pytest.mark.torch, pytest.mark.index]

PAIRS = [(name, case) for name in migrated_names() for case in find(name).cases]
MODES = ("eval", "train")


def accepted(architecture: Architecture, case: Case) -> list[AcceptedDifference]:
    """The wanted differences that this case shows."""
    whole = complete(architecture, case.config)
    return [row for row in architecture.accepted_differences if row.applies(whole)]


EQUAL = [(name, case) for name, case in PAIRS if not accepted(find(name), case)]
WANTED = [(name, row) for name in migrated_names() for row in find(name).accepted_differences]


def asked(name: str, config: Config, **request: Any) -> dict[str, Any]:
    """The request for the old side, with a configuration in the arguments of the old constructor."""
    release = find(name).generations[-1].releases[-1]
    whole = config if release.old_config is None else complete(find(name), config)
    return {**request, "config": release.arguments(whole)}


class Told:
    """What both sides say about one case."""

    def __init__(self, sides: Sides, name: str, case: Case) -> None:
        self.name, self.case = name, case
        report = ["layout", "initial"]
        self.built = sides.run_each(name, case.config, asked(name, case.config, report=report), {"report": report})
        self.layouts = [answer["layout"] for answer in self.built]
        passes: dict[str, Any] = {"input": case.input, "report": [*MODES, "gradients"], "modes": MODES}
        old, new = ({**passes, "load": layout} for layout in reversed(self.layouts))
        self.ran = sides.run_each(name, case.config, asked(name, case.config, **old), new)


@pytest.fixture(scope="module", params=EQUAL, ids=[f"{name}-{case.name}" for name, case in EQUAL])
def told(sides: Sides, request: pytest.FixtureRequest) -> Told:
    """Ask both sides once for each case."""
    return Told(sides, *request.param)


def test_keys_shapes_and_dtypes_are_equal_in_the_same_order_and_as_the_toolkit_says(told: Told) -> None:
    old, new = told.layouts
    assert new == old
    assert len(old) > 10
    architecture = find(told.name)
    stated = architecture.layout(complete(architecture, told.case.config))
    assert new == [[name, list(spec.shape), spec.dtype] for name, spec in stated.items()]


def test_one_seed_gives_the_same_initial_weights_and_leaves_the_generator_in_the_same_state(told: Told) -> None:
    old, new = (answer["initial"] for answer in told.built)
    assert new["digests"] == old["digests"]
    assert new["generator"] == old["generator"]


def test_state_dicts_load_strictly_both_ways(told: Told) -> None:
    for answer in told.ran:
        assert "error" not in answer
        assert answer["loaded"] == len(told.layouts[0])


@pytest.mark.parametrize("mode", MODES)
def test_outputs_are_the_same_bytes(told: Told, mode: str) -> None:
    old, new = (answer[mode] for answer in told.ran)
    if failed_alike(old, new):
        # one value for each channel cannot be normalised over the batch
        assert (mode, old["error"]["type"], told.case.input[0]) == ("train", "ValueError", 1)
        return
    assert new["type"] == old["type"]
    assert new["outputs"] == old["outputs"]
    assert old["outputs"]
    assert all(output["finite"] for output in old["outputs"])


def test_buffers_and_generator_are_the_same_after_a_step_in_train_mode(told: Told) -> None:
    old, new = (answer["train"] for answer in told.ran)
    if not failed_alike(old, new):
        assert new["buffers"] == old["buffers"]
        assert new["generator"] == old["generator"]


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_the_same_bytes(told: Told, mode: str) -> None:
    old, new = (answer["gradients"][mode] for answer in told.ran)
    if told.name == "BetaVaeMonai" and mode == "eval":
        # MONAI adds in place there
        assert failed_alike(old, new)
        assert old["error"]["stage"] == "backward"
    elif not failed_alike(old, new):
        assert new == old
        assert any(old["parameters"].values())
    else:
        assert (mode, old["error"]["stage"], told.case.input[0]) == ("train", "forward", 1)


def failed_alike(old: Answer, new: Answer) -> bool:
    """Whether both sides raised, which must then be the same error at the same place."""
    assert ("error" in old) == ("error" in new)
    if "error" not in old:
        return False
    for key in ("stage", "type", "message"):
        assert new["error"][key] == old["error"][key]
    return True


@pytest.mark.parametrize(("name", "row"), WANTED, ids=[row.id for _, row in WANTED])
def test_every_accepted_difference_is_one(sides: Sides, name: str, row: AcceptedDifference) -> None:
    case = row.example
    assert row in accepted(find(name), case)
    passes: dict[str, Any] = {"input": case.input, "report": ["eval"]}
    old, new = sides.run_each(name, case.config, asked(name, case.config, **passes), passes)
    refusing, other = (new, old) if row.side == "new-refuses" else (old, new)
    assert raised(refusing) == (row.stage, row.error)
    assert raised(other) != raised(refusing)
    # what the migrated class refuses never ran, and what the old one refused does
    assert (raised(other) is None) == (row.side == "old-refuses")


def raised(answer: Answer) -> tuple[str, str] | None:
    """Where and what a side raised."""
    error = answer.get("error") or answer["eval"].get("error")
    return (error["stage"], error["type"]) if error else None


def test_no_case_is_left_out_and_there_are_enough() -> None:
    shown = [pair for pair in PAIRS if pair not in EQUAL]
    for family in (migrated_names()[:4], migrated_names()[4:]):
        assert len([name for name, _ in EQUAL if name in family]) >= 25
    assert {name for name, _ in shown} <= {"ContrastiveEncoder"}
    assert all("resnet50" in case.config.values() for _, case in shown)
