"""The README is true: its commands run, and print what it shows."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns, which

import pytest

from support.old_checkpoints import make
from support.pages import assert_printed, commands
from viscy_compat.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "tools"))

from demo import CONFIG, OLD  # noqa: E402

# The suite is what this command runs; the other one of the two runs below like any command.
NOT_RUN_HERE = {"python3 tools/dev.py test"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that is nobody's, as a reader has it before any command: what is built from, and an old file of hers."""
    folder = tmp_path / "viscy-compat"
    folder.mkdir()
    for name in ("src", "legacy_refs"):
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copyfile(ROOT / name, folder / name)
    # tools/dev.py works on the clone that it lies in, whose environment is the one that runs the tests
    (folder / "tools").symlink_to(ROOT / "tools")
    (folder / ".venv").symlink_to(sys.prefix)
    job = {"class": OLD["0.2.1"]["class"], "config": CONFIG, "flavour": "lightning", "optimizer": False}
    make("0.2.1", [{**job, "out": folder / "older.ckpt"}])
    return folder


def test_the_readme_shows_both_set_up_commands() -> None:
    assert "python3 tools/dev.py demo" in README
    assert "python3 tools/dev.py test" in README


def test_the_readme_begins_with_three_lines_that_solve_it() -> None:
    first = [row.command for row in commands(README)][:3]
    assert [line.split(" && ")[-1].split()[:2] for line in first] == [
        ["pip", "install"],
        ["viscy-compat", "check"],
        ["viscy-compat", "remap"],
    ]


@pytest.mark.torch
@pytest.mark.index
def test_every_command_prints_what_the_readme_shows(clone: Path) -> None:
    """In one shell that has nothing of this environment on its path but what the README's own lines put there."""
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != here)
    environment = {name: text for name, text in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    rows = [row for row in commands(README) if row.command not in NOT_RUN_HERE]
    assert which("viscy-compat", path=path) is None
    assert_printed(rows, clone, {**environment, "PATH": path})


def test_every_command_is_in_the_readme() -> None:
    assert [name for name in COMMANDS if f"`viscy-compat {name}" not in README] == []


def test_every_finding_code_is_in_the_documentation() -> None:
    spec = importlib.util.spec_from_file_location("write_findings", ROOT / "tools" / "write_findings.py")
    assert spec
    assert spec.loader
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "run python tools/write_findings.py"


def test_the_measured_ratios_are_those_of_the_result_file() -> None:
    """The page of benchmarks quotes tools/bench/check.json, which tools/bench/check.py --record wrote."""
    known = json.loads((ROOT / "tools" / "bench" / "check.json").read_text())
    for title, row in known.items():
        base = row["bare Python"]["wall"]
        ours = next(name for name in row if name.startswith("viscy-compat check"))
        names = (ours, "torch.load(meta) + keys", "torch.load + strict load")
        ratios = [f"{row[name]['wall'] / base:.1f} x" if name in row else "-" for name in names]
        assert f"| {title} | {' | '.join(ratios)} |" in BENCHMARKS


def test_the_ratios_of_remap_are_those_of_its_result_file() -> None:
    """The page of benchmarks quotes tools/bench/remap.json, which tools/bench/remap.py --record wrote."""
    known = json.loads((ROOT / "tools" / "bench" / "remap.json").read_text())
    quoted = [title for title in known if f"| {title} |" in BENCHMARKS]
    assert len(quoted) >= 5
    for title in quoted:
        row, saver = known[title], "save_file" if title.endswith(".safetensors") else "torch.save"
        floor, ours = row["cp, sync and cmp"], row["viscy-compat remap"]
        ratios = [f"{ours[what] / floor[what]:.2f} x" for what in ("wall", "cpu")]
        for name in (f"torch.load(mmap) + {saver}", f"torch.load + {saver}"):
            ratios.append(f"{row[name]['wall'] / floor['wall']:.1f} x" if name in row else "-")
        assert f"| {title} | {' | '.join(ratios)} | {ours['memory']:.0f} MB |" in BENCHMARKS
