"""ContrastiveEncoder on resnet50: broken from v0.3 on, repaired here, and equal to what v0.2.1 did."""

from __future__ import annotations

from typing import Any

import pytest

from support.sides import Sides

pytestmark = [pytest.mark.torch, pytest.mark.index]

NEW = {"backbone": "resnet50", "in_channels": 2, "in_stack_depth": 10, "projection_dim": 64}
OLD = {"backbone": "resnet50", "in_channels": 2, "in_stack_depth": 10, "embedding_len": 64, "drop_path_rate": 0.0}


def run_at_v021(sides: Sides, mode: str) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = {"op": "run", "input": (2, 2, 10, 96, 64), "seed": 7, "report": ["layout", mode]}
    sides.old.send(
        {**asked, "source": "0.2.1", "class": "viscy.representation.contrastive:ContrastiveEncoder", "config": OLD}
    )
    sides.new.send({**asked, "source": "new", "class": "viscy_models.contrastive:ContrastiveEncoder", "config": NEW})
    return sides.old.receive(), sides.new.receive()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_embedding_is_that_of_v021_under_the_same_weights(sides: Sides, mode: str) -> None:
    old, new = run_at_v021(sides, mode)
    before, now = old[mode]["outputs"][0], new[mode]["outputs"][0]
    assert before["shape"] == now["shape"] == [2, 2048]
    assert before["finite"]
    assert before["digest"] == now["digest"]


def test_stem_and_backbone_have_the_tensors_of_v021(sides: Sides) -> None:
    old, new = run_at_v021(sides, "eval")
    before, now = ([row for row in answer["layout"] if row[0][:11] != "projection."] for answer in (old, new))
    assert before == now
    assert len(now) == 319


def test_v030_to_v041_could_not_build_it(sides: Sides) -> None:
    old, new = sides.run("ContrastiveEncoder", NEW, report=["layout"])
    assert old["error"]["type"] == "AttributeError"
    assert "head" in old["error"]["message"]
    assert "error" not in new
