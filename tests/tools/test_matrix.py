"""The matrix blames a difference on the package that brought it, and its stacks are odd in one package each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.workers.answers import Initial, Pass, WorkerAnswer, WorkerOutput

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from matrix import drift, spread
from stacks import STACKS

CLASS = find("BetaVaeMonai")


def answered(index: int, digest: str = "a" * 64) -> WorkerAnswer:
    """What a worker would say of a case."""
    layout = CLASS.layout(complete(CLASS, CLASS.cases[index].config))
    told = Pass("SimpleNamespace", (WorkerOutput("recon_x", (1,), "float32", digest),), "", {})
    initial = Initial(("c" * 64,) * len(layout), "d" * 64)
    return WorkerAnswer(layout=layout, initial=initial, passes={"eval": told, "train": told})


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


def test_a_stack_is_odd_in_one_package_but_for_the_corners() -> None:
    for name, stack in STACKS.items():
        if name.startswith(("torch-", "timm-", "monai-")):
            assert stack.requirements == (name.replace("-", "=="),)
            assert stack.brings.lower() == name.partition("-")[0]
        elif name.startswith("python-"):
            assert (stack.requirements, f"python-{stack.python}", stack.brings) == ((), name, "Python")
        elif name.startswith("oldest-"):
            assert [row.partition("==")[0] for row in stack.requirements] == name.split("-")[1:]
    assert [name for name, stack in STACKS.items() if stack.lowest] == ["lowest"]
    assert not STACKS["newest"].requirements


def test_few_cases_are_spread_over_all_of_a_class() -> None:
    assert spread(CLASS, None) is spread(CLASS, len(CLASS.cases)) is CLASS
    assert spread(CLASS, 3).cases == tuple(CLASS.cases[place] for place in (0, 6, 12))


def test_what_another_stack_moved_is_measured_by_the_samples_of_each_output() -> None:
    def with_samples(digest: str, samples: tuple[float, ...]) -> list[WorkerAnswer]:
        row = answered(0, digest)
        told = Pass("SimpleNamespace", (WorkerOutput("recon_x", (2,), "float32", digest, True, samples, 2.0),), "", {})
        return [replace(row, passes={"eval": told, "train": told})]

    one = spread(CLASS, 1)
    newest, here = with_samples("a" * 64, (1.0, 2.0)), with_samples("b" * 64, (1.0, 2.5))
    (result,) = drift("torch-2.10.0", [one], {CLASS.name: newest}, {CLASS.name: here})
    assert [row["amounts"] for row in result.details["failures"]] == [
        [
            {
                "output": "recon_x",
                "largest": 0.5,
                "relative": 0.25,
                "scale": 2.0,
                "of": "root mean square (of 2 samples)",
            }
        ]
    ] * 2
    assert "recon_x by up to 0.5, 25 %" in result.findings[0].message
