"""A layout is changed on purpose: the steps of CONTRIBUTING lead from the change to an open gate, and back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.layouts import hollow
from support.mutants import Edit
from support.old_checkpoints import cache
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete

pytestmark = [pytest.mark.torch, pytest.mark.index, pytest.mark.usefixtures("warm")]

ROOT = Path(__file__).resolve().parents[2]
MODEL = "src/viscy_models/contrastive/resnet3d.py"
FILE = "src/viscy_compat/architectures/resnet3d_encoder.py"
EDITS = (
    Edit(MODEL, "self.projection = ", "self.head = "),
    Edit(MODEL, "self.projection(", "self.head("),
    Edit(FILE, '_with_projection(footprint, "projection", ', '_with_projection(footprint, "head", '),
    Edit(
        FILE,
        "    def candidates(",
        "    def layout_v04(self, config: Config) -> Layout:\n"
        '        return dict(_with_projection(self.footprint(config), "projection", PROJECTION_PLACES))\n\n'
        "    def candidates(",
    ),
    Edit(
        FILE,
        "_with_projection(self.footprint(config), *head))",
        '_with_projection(self.footprint(config), *head), "head")',
    ),
    Edit(FILE, '_LAST = ("projection.3.weight", ', '_LAST = ("head.3.weight", "projection.3.weight", '),
    Edit(
        FILE,
        "                layout=self.layout,\n            ),\n",
        "                layout=self.layout_v04,\n"
        '                to_today=lambda layout: renames(layout, {"projection": "head"}),\n'
        "            ),\n"
        '            freeze("v1.0", self),\n',
    ),
    Edit(FILE, "    last_release,\n)", "    freeze,\n    last_release,\n    renames,\n)"),
)
CASES = ("resnet10", "one-voxel-resnet10")
"""Those that are kept, so that the walk costs little."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository in which the change was made."""
    folder = tmp_path_factory.mktemp("freezing") / "clone"
    for part in ("src", "legacy_refs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in EDITS:
        path = folder / edit.file
        text = path.read_text()
        assert text.count(edit.old) == 1, edit
        path.write_text(text.replace(edit.old, edit.new))
    path = folder / FILE
    lines = path.read_text().splitlines()
    kept = [
        line for line in lines if not line.startswith("        Case(") or any(f'"{name}"' in line for name in CASES)
    ]
    path.write_text("\n".join(kept) + "\n")
    return folder


def commands() -> list[list[str]]:
    """The commands of the section, word for word."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Freeze a generation")[1].split("\n## ")[0]
    return [line.split() for line in re.findall(r"^\s*\$ viscy-compat (.*)$", section, re.MULTILINE)]


def run(clone: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(clone / "src"), "VISCY_COMPAT_CACHE": str(cache().parent)}
    environment.pop("VISCY_COMPAT_REPO", None)
    command = [sys.executable, "-m", "viscy_compat", *words]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, env=environment)


def test_the_steps_lead_from_the_change_to_an_open_gate_and_remap_goes_both_ways(clone: Path) -> None:
    architecture = find("ResNet3dEncoder")
    case = next(case for case in architecture.cases if case.name == CASES[0])
    hollow(clone / "old.ckpt", architecture.layout(complete(architecture, case.config)))
    told = []
    for words in commands():
        done = run(clone, words)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        told.append(done.stdout)
    recorded, gate = told[:2]
    assert "v1.0" in recorded
    assert (clone / "legacy_refs" / "ResNet3dEncoder" / "v1.0.json").is_file()
    assert "ResNet3dEncoder v1.0 as it was frozen" in gate
    assert gate.rstrip().splitlines()[-1].startswith("gate: open")
    assert "72 tensors as they are, 14 renamed" in told[2]
    for file, code, generation in (("new.safetensors", 0, "v1.0"), ("again.safetensors", 1, "v0.4")):
        check = run(clone, ["check", file, "-v"])
        assert (check.returncode, f"generation {generation}" in check.stdout) == (code, True)


def test_without_the_record_the_next_command_is_said(clone: Path) -> None:
    done = run(clone, ["record", "ResNet3dEncoder", "--candidate", "src"])
    assert done.returncode == 2
    assert "record ResNet3dEncoder --candidate src --generation v1.0" in done.stderr
