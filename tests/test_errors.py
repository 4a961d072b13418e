"""The line that installs what is lacking works where it is pasted: before Python 3.12 the index has no ``viscy-models``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from viscy_compat.errors import install_line


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that this package was installed from, in an environment of Python 3.11 without the models."""
    folder = tmp_path / "my clone"
    (folder / "src" / "viscy_models").mkdir(parents=True)
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    record = f'{{"url": "{folder.as_uri()}", "dir_info": {{}}}}'
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: record))
    return folder


def test_the_models_come_out_of_the_clone(clone: Path) -> None:
    assert install_line("models") == f"pip install '{clone}/src/viscy_models' '{clone}[models]'"
    line = install_line("config", "explore", upgrade=True)
    assert line == f"pip install --upgrade '{clone}/src/viscy_models' '{clone}[config,explore]'"


def test_what_needs_no_models_comes_from_the_index(clone: Path) -> None:
    assert install_line("config") == "pip install 'viscy-compat[config]'"


def test_from_python_3_12_on_the_index_has_models(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert install_line("models") == "pip install 'viscy-compat[models]'"


def test_models_that_are_there_stay(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "viscy_models")
    assert install_line("models") == "pip install 'viscy-compat[models]'"


@pytest.mark.parametrize("record", [None, "", "{}", "{", '{"url": "https://example.org/viscy-compat.whl"}'])
def test_without_a_clone_there_is_one_line(record: str | None, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: record))
    assert install_line("models") == "pip install 'viscy-compat[models]'"


def test_a_clone_that_is_gone_is_not_named(clone: Path) -> None:
    (clone / "src" / "viscy_models").rmdir()
    assert install_line("models") == "pip install 'viscy-compat[models]'"
