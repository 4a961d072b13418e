"""The README is true: its commands run, and print what it shows."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from viscy_compat.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The suite is what this command runs; the other one of the two runs below like any command.
NOT_RUN_HERE = {"python3 tools/dev.py test"}


class Shown(NamedTuple):
    """A command of the README with the output that stands below it, and the exit code in ``# exit N``."""

    command: str
    output: str


def shown_commands() -> list[Shown]:
    """The ``$ command`` at the head of each console block, with the rest of the block as its output."""
    blocks = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
    return [Shown(command, output.strip("\n")) for command, output in blocks]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the clone and is nobody's: the README's commands leave their files there."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tools").symlink_to(ROOT / "tools")
    return folder


def test_the_readme_shows_both_set_up_commands() -> None:
    assert "python3 tools/dev.py demo" in README
    assert "python3 tools/dev.py test" in README


@pytest.mark.torch
@pytest.mark.index
def test_every_command_prints_what_the_readme_shows(place: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    checker = doctest.OutputChecker()
    for command, output in shown_commands():
        if command in NOT_RUN_HERE:
            continue
        done = subprocess.run(
            shlex.split(command),
            cwd=place,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        wanted, got = output + "\n", done.stdout.strip("\n") + "\n"
        assert checker.check_output(wanted, got, doctest.ELLIPSIS), f"$ {command}\n{got}\n{done.stderr}"


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
    """The README quotes tools/bench/check.json, which tools/bench/check.py --record wrote."""
    known = json.loads((ROOT / "tools" / "bench" / "check.json").read_text())
    for title, row in known.items():
        base = row["bare Python"]["wall"]
        ours = next(name for name in row if name.startswith("viscy-compat check"))
        names = (ours, "torch.load(meta) + keys", "torch.load + strict load")
        ratios = [f"{row[name]['wall'] / base:.1f} x" if name in row else "-" for name in names]
        assert f"| {title} | {' | '.join(ratios)} |" in README


def test_the_ratios_of_remap_are_those_of_its_result_file() -> None:
    """The README quotes tools/bench/remap.json, which tools/bench/remap.py --record wrote."""
    known = json.loads((ROOT / "tools" / "bench" / "remap.json").read_text())
    quoted = [title for title in known if f"| {title} |" in README]
    assert len(quoted) >= 5
    for title in quoted:
        row, saver = known[title], "save_file" if title.endswith(".safetensors") else "torch.save"
        names = ("cp and sync", "viscy-compat remap", f"torch.load(mmap) + {saver}", f"torch.load + {saver}")
        ratios = [f"{row[name]['wall'] / row['cp of the output']['wall']:.1f} x" for name in names]
        memory = f"{row['viscy-compat remap']['memory']:.0f} MB"
        assert f"| {title} | {' | '.join([*ratios, memory])} |" in README
