"""The notebook runs from the first cell to the last, and prints what is stored in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.old_checkpoints import make

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
OLDER = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "stem_kernel_size": [5, 4, 4]}


def printed(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each cell of code prints and returns, without warnings: those name folders of this machine."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        [part.get("text") or part["data"]["text/plain"] for part in cell.outputs if part.get("name") != "stderr"]
        for cell in cells
    ]


@pytest.mark.torch
@pytest.mark.index
def test_every_cell_prints_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    job = {"class": "ContrastiveEncoder", "config": OLDER, "flavour": "lightning", "optimizer": False}
    make("0.2.1", [{**job, "out": tmp_path / "older.ckpt"}])
    stored = nbformat.read(PAGE, as_version=4)
    wanted = printed(stored)
    assert all(wanted)
    # the kernel sends what is printed in as many messages as its timer makes of it: a cell's words are what counts
    client = NotebookClient(
        stored, timeout=3600, coalesce_streams=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert printed(stored) == wanted


def test_what_is_stored_names_no_machine() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert '"stderr"' not in text
