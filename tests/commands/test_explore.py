"""`explore` as a person types it: questions are answered at once, senseless ones get one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from viscy_compat.cli import main

ASK = ["explore", "BetaVae25D", "--ask", "backbone=convnext_tiny", "--ask", "input_spatial_size=200,200"]


def test_a_question_is_answered_with_what_is_lost_and_what_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--ask", "stem_stride=2,4,4", "--format", "json"]) == 1
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    assert (answer["builds"], answer["runs"], answer["exact"]) == (True, True, False)
    assert answer["outputs"]["recon_x"] == [2, 2, 16, 384, 384]
    assert {loss["kind"] for loss in answer["losses"]} == {"rounding"}
    assert {"input_spatial_size": [192, 192], "decoder_stages": 3} in answer["nearby"]


def test_an_exact_answer_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "BetaVae25D", "--input", "2,2,16,256,256"]) == 0
    assert "BetaVae25D: exact" in capsys.readouterr().out


def test_every_nearby_answer_is_exact() -> None:
    from viscy_compat.architectures import find
    from viscy_compat.architectures.asking import ask

    asked = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 17}
    architecture = find("ContrastiveEncoder")
    answer = ask(architecture, asked)
    assert answer.nearby
    assert all(ask(architecture, {**asked, **change}).outcome.exact for change in answer.nearby)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ask", "backbone=resnet50"], "--ask is about one class"),
        (["BetaVae25D", "--ask", "depth=3"], "has no argument depth"),
        (["BetaVae25D", "--ask", "latent_dim=wide"], "latent_dim='wide' is no value"),
        (["BetaVae25D", "--input", "wide"], "is no shape"),
        (["ContrastiveEncoder", "--ask", "in_channels=1"], "needs backbone, in_stack_depth"),
        (["Nobody", "--ask", "a=1"], "no class 'Nobody' is known"),
        (["BetaVae25D", "--law", "gravity"], "there is no law gravity"),
        (["BetaVae25D", "--examples", "0"], "--examples counts from 1"),
        (["BetaVae25D", "--recorded"], "recorded references cannot be explored"),
        (["BetaVae25D", "--plot", "map.gif"], "none of .png, .svg, .pdf and .html"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_question_imports_neither_torch_nor_hypothesis() -> None:
    code = f"import sys; from viscy_compat.cli import main; main({ASK!r}); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    assert not [name for name in ("torch", "numpy", "hypothesis", "git", "deepdiff") if f"'{name}'" in modules]


BEGINS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html>"}


@pytest.mark.parametrize("ending", BEGINS)
def test_the_map_is_drawn_and_says_what_is_held_fixed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"map.{ending}"
    words = ["explore", "ContrastiveEncoder", "--plot", str(path), "--ask", "in_stack_depth=15", "-q"]
    assert main(words) == 0
    data = path.read_bytes()
    assert data.startswith(BEGINS[ending])
    if ending in ("svg", "html"):
        assert b"Held fixed: backbone=convnext_tiny, in_channels=2" in data
        assert b"The circle: input depth (slices) 15, stem kernel and stride in z 5." in data
    assert main(words) == 0
    assert path.read_bytes() == data or ending == "png"


def test_a_second_map_stands_beside_the_first(tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    words = ["explore", "BetaVae25D", "--plot", str(path), "--beside", "backbone=convnext_tiny", "-q"]
    assert main(words) == 0
    page = path.read_text()
    assert page.count("<svg") == 2
    assert "backbone=resnet50" in page
    assert "backbone=convnext_tiny" in page
    assert "<circle" not in page
    assert main(["explore", "BetaVae25D", "--beside", "backbone=convnext_tiny"]) == 2
