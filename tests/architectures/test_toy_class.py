"""A class is known by one file and one row: a toy class in a temporary folder works in every command."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import viscy_compat.architectures as room
from support.files import layout_in
from support.layouts import hollow
from support.old_history import git
from viscy_compat.architectures import ClassRow, class_names, find
from viscy_compat.cli import main
from viscy_compat.findings import Report
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Setting
from viscy_compat.gating.stages import stages_of
from viscy_compat.layout import TensorSpec
from viscy_compat.proof.equivalence import verify
from viscy_compat.references import records
from viscy_compat.report import render
from viscy_compat.workers.candidate import read_candidate

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("warm")

KNOWLEDGE = """
from functools import cached_property

from viscy_compat.architectures.architecture import (
    Architecture, Argument, Case, Generation, Integers, Publication, Release, Signature
)
from viscy_compat.layout import TensorSpec


class Toy(Architecture):
    name = "Toy"
    target = "viscy_models.toy.Toy"
    arguments = (Argument("width", 4, Integers(1, 8)),)
    outputs = ("y",)
    cases = tuple(Case(f"width-{width}", {"width": width}, (2, 3)) for width in range(1, 9))
    publications = (Publication("Toy demo", "toy.ckpt", "v1", {"width": 5}),)
    anchors = ("linear.weight",)

    @cached_property
    def generations(self):
        release = Release("", "HEAD", {}, Signature((("width", 4),)))
        return (Generation("v1", "viscy.toy", "Toy", "v1", (release,), self.layout),)

    def footprint(self, config):
        return config["width"]

    def tensors(self, width):
        yield "linear.weight", TensorSpec((width, 3))
        yield "linear.bias", TensorSpec((width,))

    def candidates(self, layout):
        if "linear.bias" in layout:
            yield {"width": layout["linear.bias"].shape[0]}

    def input_shape(self, config):
        return (2, 3)

    def refusal(self, config, shape):
        return "" if len(shape) == 2 and shape[1] == 3 else "the input must be (B, 3)"

    def output_shapes(self, config, shape):
        return {"y": (shape[0], config["width"])}


ARCHITECTURE = Toy()
"""

MODEL = """
import torch


class Toy(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.linear = torch.nn.Linear(3, width)

    def forward(self, x):
        return self.linear(x).relu()
"""

PARTS = ("weight", "bias")
LAYOUT = {"linear.weight": TensorSpec((5, 3)), "linear.bias": TensorSpec((5,))}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the toy's architecture file, its row among the classes, an old clone and a migrated package."""
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "toy.py").write_text(KNOWLEDGE)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path / "knowledge")])
    monkeypatch.setattr(room, "CLASSES", (*room.CLASSES, ClassRow("Toy", "toy", ("linear.weight",))))
    monkeypatch.setattr("viscy_compat.architectures.inference.CLASSES", room.CLASSES)
    for folder in ("clone/viscy", "candidate/viscy_models"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "toy.py").write_text(MODEL)
    git(tmp_path / "clone", "init", "-q", "-b", "main")
    git(tmp_path / "clone", "add", "-A")
    git(tmp_path / "clone", "commit", "-qm", "the old toy")
    hollow(tmp_path / "toy.safetensors", {f"module.{name}": spec for name, spec in LAYOUT.items()})
    yield tmp_path
    sys.modules.pop("viscy_compat.architectures.toy", None)


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints; it must end with this exit code."""
    assert main(list(words)) == code, capsys.readouterr()
    return capsys.readouterr().out


def test_it_is_known(toy: Path) -> None:
    assert "Toy" in class_names()
    assert find("Toy").name == "Toy"


def test_check_inspect_and_remap_know_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = str(toy / "toy.safetensors"), str(toy / "new.safetensors")
    (result,) = json.loads(printed(capsys, "check", old, "--format", "json"))["results"]
    assert (result["architecture"]["class"], result["architecture"]["config"]) == ("Toy", {"width": 5})
    assert "linear" in printed(capsys, "inspect", old)
    assert "Toy, v1" in printed(capsys, "remap", old, "-o", new)
    assert "compatible" in printed(capsys, "check", new)


def test_zoo_and_questions_know_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Toy demo  toy.ckpt" in printed(capsys, "zoo")
    (answer,) = json.loads(printed(capsys, "explore", "Toy", "--ask", "width=6", "--format", "json"))["results"]
    assert answer["outputs"] == {"y": [2, 6]}
    printed(capsys, "explore", "Toy", "--ask", "width=6", "--input", "2,4", code=1)


@pytest.mark.torch
def test_verify_and_explore_run_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = ("--repo", str(toy / "clone"), "--rev", "HEAD", "--candidate", str(toy / "candidate"), "-q")
    (result,) = json.loads(printed(capsys, "verify", "Toy", *sides, "--format", "json"))["results"]
    assert (result["class"], result["configurations"], result["failures"]) == ("Toy", 8, [])
    (result,) = json.loads(printed(capsys, "explore", "Toy", *sides, "--examples", "20", "--format", "json"))["results"]
    assert (result["failures"], sum(result["cases"].values()) > 0) == ([], True)
    wrong = toy / "candidate" / "viscy_models" / "toy.py"
    wrong.write_text(MODEL.replace(".relu()", ".abs()"))
    (result,) = json.loads(printed(capsys, "verify", "Toy", *sides, "--format", "json", code=1))["results"]
    assert {failure["code"] for failure in result["failures"]} == {"VC501"}


@pytest.fixture
def report_of_numbers(toy: Path) -> dict[str, Report[Any]]:
    """What `verify` and `gate` say of a candidate whose output is half as much again, as its author would run them."""
    wrong = toy / "candidate" / "viscy_models" / "toy.py"
    wrong.write_text(MODEL.replace(".relu()", ".relu() * 1.5"))
    sides = {"repo": str(toy / "clone"), "rev": "HEAD"}
    package = read_candidate(str(toy / "candidate"))
    stages = [stage for stage in stages_of() if stage.name == "verify"]
    return {
        "verify": verify(["Toy"], candidate=str(toy / "candidate"), repo=sides["repo"], rev=sides["rev"]),
        "gate": gate(Setting((find("Toy"),), package, sides), stages),
    }


@pytest.mark.torch
def test_verify_and_gate_say_how_much_of_which_output_and_where_it_begins(
    report_of_numbers: dict[str, Report[Any]],
) -> None:
    for command, report in report_of_numbers.items():
        assert report.exit_code == 1
        (result,) = (row for row in report.to_dict()["results"] if row.get("class") == "Toy")
        failures = result["failures"]
        assert {failure["mode"] for failure in failures} == {"eval", "train"}
        for failure in failures:
            (amount,) = failure["amounts"]
            assert (amount["output"], amount["of"], failure["module"]) == ("y", "largest value", "(the whole model)")
            assert amount["relative"] == pytest.approx(0.5)
            assert amount["largest"] == pytest.approx(amount["scale"] / 2)
        largest = max(amount["largest"] for failure in failures for amount in failure["amounts"])
        for format in ("text", "markdown", "html"):
            document = unescape(render(report, format)).replace("\\", "")
            assert re.search(r"y by up to [0-9.]+, 50 % of its largest value [0-9.]+", document), (command, format)
            assert "they part in (the whole model)" in document
        assert f"y by up to {largest:.3g}" in json.dumps(report.to_dict())


@pytest.mark.torch
def test_a_maintainer_elsewhere_freezes_a_state_with_the_commands_of_the_document(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands are those of docs/gate.md, word for word; only the class is the toy, and its package holds no other."""
    (toy / "candidate").rename(toy / "src")
    model = toy / "src" / "viscy_models" / "toy.py"
    model.with_name("__init__.py").write_text("from viscy_models.toy import Toy\n")
    (toy / "pyproject.toml").write_text('[tool.viscy-compat]\nclasses = ["Toy"]\nnames = []\n')
    for file, names in (("old.ckpt", "linear"), ("new.ckpt", "head")):
        hollow(toy / file, {name.replace("linear", names): spec for name, spec in LAYOUT.items()})
    monkeypatch.chdir(toy)
    monkeypatch.setenv("VISCY_COMPAT_REPO", str(toy / "clone"))
    # the record that the tools ship beside an architecture file; the class is still the old one
    printed(capsys, "record", "Toy", "--candidate", "src", "--generation", "v0", "--to", "shipped")
    records.store(replace(records.read("Toy", "v0", root=toy / "shipped"), generation="v1"), toy / "shipped")
    monkeypatch.setattr(records, "references_root", lambda: toy / "shipped")
    model.write_text(MODEL.replace("self.linear", "self.head"))
    section = (ROOT / "docs" / "gate.md").read_text().split("becomes a state of your own")[1].split("\n## ")[0]
    commands = [line.split() for line in re.findall(r"^\$ viscy-compat (.*)$", section, re.MULTILINE)]
    assert [words[0] for words in commands] == ["record", "gate", "remap"]
    record, gated, remapped = (
        printed(capsys, *(word.replace("ResNet3dEncoder", "Toy") for word in words)) for words in commands
    )
    assert "Toy v1.0" in record
    assert (toy / "legacy_refs" / "Toy" / "v1.0.json").is_file()
    assert gated.rstrip().splitlines()[-1].startswith("gate: open")
    assert "2 renamed" in remapped
    assert layout_in(toy / "out.ckpt") == {f"head.{part}": LAYOUT[f"linear.{part}"] for part in PARTS}
    # what she breaks afterwards is measured against her own state, by the output's name
    model.write_text(MODEL.replace("self.linear", "self.head").replace(".relu()", ".relu() * 1.5"))
    told = printed(capsys, *commands[1], code=1)
    assert re.search(r"y by up to [0-9.]+, [0-9.e+]+ % of its recorded root mean square", told)
