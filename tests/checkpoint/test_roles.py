"""What stands among honest hyper-parameters only builds data, by whatever name a version of Python pickles it."""

from __future__ import annotations

import pickletools
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath
from pickle import dumps

import pytest

from viscy_compat.checkpoint.pickle_nodes import Global
from viscy_compat.checkpoint.roles import uses_of


def role_of(module: str, name: str) -> str:
    called = Global(module, name)
    called.use = "called"
    return uses_of((called,), computed=False)[0].role


HELD = [PurePosixPath("a/b"), PureWindowsPath("a\\b"), datetime(2026, 11, 27, tzinfo=timezone(timedelta(hours=1)))]


@pytest.mark.parametrize("value", HELD, ids=lambda value: type(value).__name__)
def test_what_this_python_writes_is_data(value: object) -> None:
    names = [str(arg).split(" ") for code, arg, _ in pickletools.genops(dumps(value, 2)) if code.name == "GLOBAL"]
    assert names
    assert {role_of(*name) for name in names} == {"data"}


@pytest.mark.parametrize("name", ["PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"])
@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_a_path_is_data_under_both_names_of_its_module(module: str, name: str) -> None:
    """Python 3.13 calls the module pathlib._local, those before it pathlib."""
    assert role_of(module, name) == "data"


@pytest.mark.parametrize("name", ["Path.unlink", "os.system", "_Selector"])
def test_anything_else_of_the_module_is_reported(name: str) -> None:
    assert role_of("pathlib._local", name) == "call"
