"""Where a worker computes: no GPU is one line, and a pass without repeatable algorithm is compared by distance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from viscy_compat.architectures.architecture import Case
from viscy_compat.cli import main
from viscy_compat.comparison.cases import compare
from viscy_compat.layout import TensorSpec
from viscy_compat.workers.answers import Initial, Pass, WorkerAnswer, WorkerOutput
from viscy_compat.workers.worker import _environment

OUTPUT = WorkerOutput("output", (1, 2), "float32", "d", samples=(1.0, 2.0), norm=1.5)
PASS = Pass("Tensor", (OUTPUT,), "g", {}, unrepeatable="max_pool3d has no deterministic implementation")
ANSWER = WorkerAnswer({"a": TensorSpec((2,))}, Initial(("x",), "g"), {"eval": PASS, "train": PASS})


def codes(samples: tuple[float, ...], unrepeatable: str = PASS.unrepeatable) -> set[str]:
    """The codes of a pass whose bytes differ, and whose numbers are these."""
    moved = replace(OUTPUT, digest="e", samples=samples)
    passes: Any = dict.fromkeys(("eval", "train"), Pass("Tensor", (moved,), "g", {}, unrepeatable))
    old = replace(ANSWER, passes={mode: replace(PASS, unrepeatable=unrepeatable) for mode in passes})
    return {failure.code for failure in compare(old, replace(ANSWER, passes=passes), Case("one", {}, (1, 2))).failures}


def test_a_pass_that_nothing_repeats_is_compared_by_distance() -> None:
    assert codes((1.0, 2.0 + 1e-6)) == {"VC354"}
    assert codes((1.0, 2.0 + 1e-3)) == {"VC501"}
    assert codes((1.0, float("nan"))) == {"VC501"}
    assert codes((1.0, 2.0 + 1e-6), unrepeatable="") == {"VC501"}


def test_only_a_worker_on_a_gpu_sees_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert _environment("f", "cpu")["CUDA_VISIBLE_DEVICES"] == ""
    on_gpu = _environment("f", "cuda")
    assert (on_gpu["CUDA_VISIBLE_DEVICES"], on_gpu["CUBLAS_WORKSPACE_CONFIG"]) == ("1", ":4096:8")


def test_recorded_references_are_of_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "Unet2d", "--device", "cuda", "--recorded"]) == 2
    assert "references were recorded on a CPU" in capsys.readouterr().err


@pytest.mark.torch
def test_without_a_gpu_the_flag_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["verify", "Unet2d", "--device", "cuda"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert "--device cuda" in line
    assert "sees no GPU" in line
    assert captured.out == ""


@pytest.mark.torch
def test_a_pass_that_deterministic_algorithms_refuse_runs_all_the_same_and_says_so() -> None:
    import torch
    from torch import nn

    from viscy_compat.workers.program.backbones import BackboneMemory
    from viscy_compat.workers.program.models import BuiltModel
    from viscy_compat.workers.program.session import Session

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            if (
                torch.are_deterministic_algorithms_enabled()
                and not torch.is_deterministic_algorithms_warn_only_enabled()
            ):
                raise RuntimeError("max_pool3d does not have a deterministic implementation")
            return self.line(x)

    request = {"report": ["eval"], "input": [1, 2], "place": "cpu:0", "samples": 2}
    torch.use_deterministic_algorithms(True)
    try:
        answer = Session(request, BuiltModel(Pooled(), 0.0, {}), BackboneMemory()).answer()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert answer["eval"]["unrepeatable"].startswith("max_pool3d does not have")
    assert len(answer["eval"]["outputs"]) == 1
