"""The folder that a worker runs stands alone: syntax of Python 3.9, no import of ours, no name in the way of strange code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from viscy_compat.workers.worker import PROGRAM

FILES = sorted(PROGRAM.glob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "torch", "timm", "monai", "numpy", "safetensors"}


def roots(path: Path) -> set[str]:
    """The top names of every absolute import in a file."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {(n.module or "").partition(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_keeps_to_the_syntax_of_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert roots(path) <= ALLOWED


def test_confinement_can_be_loaded_alone() -> None:
    tree = ast.parse((PROGRAM / "confinement.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


def test_strange_code_finds_the_standard_library_and_not_the_program() -> None:
    """Python puts the folder first on the path, and one of its files is called as a module of the standard library."""
    asked = (
        "import runpy, sys; program = runpy.run_path(sys.argv[1], run_name='program'); "
        "sys.path.insert(0, sys.argv[1]); program['load'](); import trace; print(trace.__file__, sys.path)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", asked, str(PROGRAM)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(PROGRAM) not in done.stdout


def test_the_folder_runs_as_a_program_and_says_why_it_cannot() -> None:
    line = '{"op": "nothing", "mark": "7"}\n'
    done = subprocess.run([sys.executable, "-I", str(PROGRAM)], input=line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"mark": "7"' in done.stdout
    assert "no such request: 'nothing'" in done.stdout
