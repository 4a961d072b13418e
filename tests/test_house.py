"""The house keeps its own rules: style, types, arrows, doctests, and nothing that ties a commit to one machine."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import doctest
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import viscy_compat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import house  # noqa: E402

TOOLS = Path(sys.executable).parent

# These import torch, or are a program of their own that must not run at import.
UNIMPORTED = {
    "viscy_compat.__main__",
    "viscy_compat.building",
    "viscy_compat.tensors",
    "viscy_compat.workers.program.__main__",
}


def modules() -> list[str]:
    """Every module of the toolkit."""
    found = pkgutil.walk_packages(viscy_compat.__path__, "viscy_compat.")
    return ["viscy_compat", *(module.name for module in found if module.name not in UNIMPORTED)]


def run(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment."""
    return subprocess.run([TOOLS / words[0], *words[1:]], cwd=folder, capture_output=True, text=True)


def passes(*words: str) -> None:
    """Run a tool of this environment in the clone and expect exit code 0."""
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    passes("ruff", "check", ".")
    passes("ruff", "format", "--check", ".")


@pytest.fixture(scope="module")
def typing() -> subprocess.CompletedProcess[str]:
    """What mypy says of the house; its cache stays where everybody has it who runs mypy in a clone."""
    return run("mypy", "--cache-dir", ".mypy_cache")


def test_mypy_strict_finds_nothing(typing: subprocess.CompletedProcess[str]) -> None:
    assert typing.returncode == 0, typing.stdout + typing.stderr


SCRIPT = """
import viscy_compat as vc

report = vc.check("old.ckpt")
verdict: str = report.results[0].verdict
identity = report.results[0].identity
name: str = identity.class_name if identity else ""
plan = vc.remap("old.ckpt").results[0].plan
tensors = vc.inspect("old.ckpt").results[0].checkpoint
exact: bool = vc.ask("BetaVae25D", latent_dim=256).results[0].outcome.exact
needs = vc.zoo("vscyto2d").results[0].needs
title: str = vc.explain("VC105").results[0].entry.title
row = vc.audit("runs", jobs=2, allow=["remappable"]).results[0]
kind: str = row.verdict + row.row.class_name
card: str = vc.remap("old.ckpt", "new.safetensors", force=True, card="card.md").results[0].files["card"]
module: str = vc.verify(["BetaVae25D"], repo="VisCy").results[0].failures[0].module
hunt = vc.explore(["BetaVae25D"], examples=200).results[0].to_dict()
changed: bool = vc.record(["BetaVae25D"], check=True).results[0].changed
shapes = [tensor.shape for tensor in vc.load_state_dict("old.ckpt").values()]
model = vc.load_model("old.ckpt", config={"stem_stride": (5, 4, 4)}).eval()
print(verdict, name, plan, tensors, exact, needs, title, report.findings[0].code, kind, card, module, hunt, changed)
print(shapes, model(None), str(report), report.to_dict()["results"], bool(report), vc.__version__)
"""


@pytest.mark.usefixtures("typing")
def test_mypy_strict_takes_a_script_of_a_user(tmp_path: Path) -> None:
    """The package is found where it is installed, not where this clone has it; what mypy knows of torch it has read before."""
    shutil.copytree(ROOT / ".mypy_cache", tmp_path / "cache")
    settings = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(re.sub(r"(?m)^(files|mypy_path) = .*\n", "", settings))
    script = tmp_path / "user.py"
    script.write_text(SCRIPT + "reveal_type(report.results[0].verdict)\n")
    done = run("mypy", "--strict", "--cache-dir", "cache", "user.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "compatible" in done.stdout
    script.write_text(SCRIPT + "report.results[0].no_such_field\n")
    assert "no_such_field" in run("mypy", "--strict", "--cache-dir", "cache", "user.py", folder=tmp_path).stdout


def test_imports_point_downwards() -> None:
    passes("lint-imports")


def test_no_two_modules_import_each_other_not_even_late_or_for_type_checkers_alone() -> None:
    """import-linter sees neither imports in functions nor those under TYPE_CHECKING as circles."""
    measured = house.cycles(house.read_package(ROOT / "src" / "viscy_compat"))
    assert measured.culprits == []


@pytest.mark.parametrize("name", modules())
def test_doctests_pass(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def strange_types(path: Path) -> list[str]:
    """Rows of docstrings (``name : Type``) that name a type which the module does not know."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = {*dir(collections.abc), *dir(builtins)}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name):
            known.add(node.id)
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            known.add(node.name)
            texts.append(ast.get_docstring(node) or "")
    rows = [row for text in texts for row in re.findall(r"^\w[\w, ]* : .*$", text, re.MULTILINE)]
    # what is dotted says itself where it is from
    return [row for row in rows if not known.issuperset(re.findall(r"(?<![.\w])[A-Z]\w+", row.partition(" : ")[2]))]


def test_docstrings_name_types_that_there_are() -> None:
    strange = {path.name: rows for path in (ROOT / "src").rglob("*.py") if (rows := strange_types(path))}
    assert strange == {}


def test_a_type_that_a_module_does_not_know_is_found(tmp_path: Path) -> None:
    code = '''def f(a: Any, b: Any) -> None:
    """Do.

    Parameters
    ----------
    a : Mapping[str, Any]
    b, c : tuple[Gone, ...]
    d : far.Away
    """
'''
    (tmp_path / "a.py").write_text(code)
    assert strange_types(tmp_path / "a.py") == ["b, c : tuple[Gone, ...]"]


def tracked() -> list[Path]:
    """Every file that git tracks here, or every file of an unpacked sdist."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and not {".venv", "__pycache__"} & set(path.parts)]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_no_file_names_a_machine_or_an_index() -> None:
    # a service may have no home, or live where everybody keeps what is temporary
    home = {os.path.expanduser("~")} - {"~", "/", tempfile.gettempdir()}
    here = [f"{folder}/" for folder in (*home, str(ROOT))]
    ties = [*here, "index" + "-url", "files.python" + "hosted", "pypi" + ".org"]
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        assert not [tie for tie in ties if tie in text], path


def test_no_old_source_is_stored() -> None:
    """legacy_refs holds data only, and the model code imports nothing of the old package."""
    assert not [path for path in tracked() if "legacy_refs" in path.parts and path.suffix == ".py"]
    for path in (ROOT / "src" / "viscy_models").rglob("*.py"):
        words = path.read_text().split()
        assert "viscy" not in [word.split(".")[0] for word in words if word.startswith("viscy.")], path
