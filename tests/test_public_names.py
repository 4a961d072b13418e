"""The public functions are what importing any submodule leaves them, and importing the package is cheap."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import viscy_compat

UNIMPORTED = {"viscy_compat.__main__", "viscy_compat.workers.program.__main__"}


def test_no_submodule_shadows_a_public_function() -> None:
    before = {name: getattr(viscy_compat, name) for name in viscy_compat.__all__}
    for module in pkgutil.walk_packages(viscy_compat.__path__, "viscy_compat."):
        if module.name not in UNIMPORTED:
            importlib.import_module(module.name)
    assert {name: getattr(viscy_compat, name) for name in viscy_compat.__all__} == before
    assert viscy_compat.check("nowhere.ckpt").verdict == "unreadable"
    assert viscy_compat.check("nowhere.ckpt").verdict == "unreadable"


def test_importing_the_package_imports_no_room() -> None:
    code = "import sys, viscy_compat; print([name for name in sys.modules if name.startswith('viscy_compat.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['viscy_compat.annotations', 'viscy_compat.version']"
