"""The page about classes holds what the tools know, as they know it now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from viscy_compat.architectures import class_names
from viscy_compat.diagnosis.zoo import zoo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_which_class", ROOT / "tools" / "write_which_class.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_as_its_writer_writes_it(writer: ModuleType) -> None:
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "run python tools/write_which_class.py"


def test_every_published_file_and_every_class_has_a_row(writer: ModuleType) -> None:
    page = writer.PAGE.read_text(encoding="utf-8")
    assert all(f"| {entry.nickname} | `{entry.file}` | `{entry.class_name}`" in page for entry in zoo())
    assert all(f"| `{name}` | v0." in page for name in class_names())
