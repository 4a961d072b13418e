"""Run the folder as a program: ``python -I program``."""

import importlib
import importlib.util
import os
import sys
from typing import Any

NAME = "viscy_compat_worker"
"""What the folder is imported as: a name that no strange code wants, unlike those of its modules."""


def load() -> Any:
    """Import the loop as a module of a package, and take the folder off the path, where Python puts it first.

    Strange code that imports `trace` means the standard library's.
    """
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    place = os.path.join(folder, "__init__.py")
    spec: Any = importlib.util.spec_from_file_location(NAME, place, submodule_search_locations=[folder])
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{NAME}.loop")


if __name__ == "__main__":
    code = load().main()
    # taking a process with torch apart module by module takes as long as a third of its import, and serves nobody
    sys.stderr.flush()
    os._exit(code)
