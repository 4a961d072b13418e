"""The matrix blames a difference on the package that brought it, and its stacks are odd in one package each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.proof.answers import Answer, Initial, Output, Pass

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from matrix import drift
from stacks import STACKS

CLASS = find("BetaVaeMonai")


def answered(index: int, digest: str = "a" * 64) -> Answer:
    """What a worker would say of a case."""
    layout = CLASS.layout(complete(CLASS, CLASS.cases[index].config))
    told = Pass("SimpleNamespace", (Output("recon_x", (1,), "float32", digest),), "", {})
    initial = Initial(("c" * 64,) * len(layout), "d" * 64)
    return Answer(layout=layout, initial=initial, passes={"eval": told, "train": told})


NEWEST = {CLASS.name: [answered(index) for index in range(len(CLASS.cases))]}


def test_equal_answers_blame_nobody() -> None:
    (result,) = drift("timm-1.0.15", [CLASS], NEWEST, NEWEST)
    assert result.exit_code == 0


@pytest.mark.parametrize(("stack", "package"), [("timm-1.0.15", "timm"), ("monai-1.5.2", "MONAI")])
def test_other_bytes_blame_the_odd_package(stack: str, package: str) -> None:
    here = {CLASS.name: [*NEWEST[CLASS.name][:-1], answered(len(CLASS.cases) - 1, "b" * 64)]}
    (result,) = drift(stack, [CLASS], NEWEST, here)
    assert result.exit_code == 1
    (finding,) = result.findings
    assert finding.code == "VC501"
    assert finding.message.endswith(f"{package} brings it ({stack} against the newest)")


def test_another_layout_blames_the_odd_package() -> None:
    first = NEWEST[CLASS.name][0]
    renamed = {f"net.{name}": spec for name, spec in first.layout.items()}
    here = {CLASS.name: [replace(first, layout=renamed), *NEWEST[CLASS.name][1:]]}
    (result,) = drift("monai-1.5.2", [CLASS], NEWEST, here)
    assert [finding.code for finding in result.findings] == ["VC111"]


def test_every_stack_but_the_newest_and_the_lowest_is_odd_in_one_package() -> None:
    for name, stack in STACKS.items():
        if name not in ("newest", "lowest"):
            assert len(stack.requirements) == 1
            assert stack.requirements[0].lower().startswith(f"{stack.brings.lower()}==")
            assert name == stack.requirements[0].replace("==", "-")
    assert STACKS["lowest"].lowest
    assert STACKS["newest"] == STACKS["newest"].__class__()
