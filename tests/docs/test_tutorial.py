"""The tutorial is true: its scripts and commands do what it shows, on a file that a real old class wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.old_checkpoints import make
from support.pages import assert_printed, commands, scripts

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
OLDER = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "stem_kernel_size": [5, 4, 4]}


@pytest.mark.torch
@pytest.mark.index
def test_the_way_from_the_error_to_the_model_is_as_shown(tmp_path: Path) -> None:
    job = {"class": "ContrastiveEncoder", "config": OLDER, "flavour": "lightning", "optimizer": False}
    make("0.2.1", [{**job, "out": tmp_path / "older.ckpt"}])
    for name, code in scripts(PAGE).items():
        (tmp_path / name).write_text(code)
    rows = commands(PAGE)
    assert [row.command.split()[0] for row in rows] == ["python", *["viscy-compat"] * 3, "python"]
    assert_printed(
        rows, tmp_path, {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    )
