"""An environment as `doctor` finds it, made up: what is required, what is installed, and what importing it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from unittest import mock


@contextmanager
def installed(folder: Path, packages: Mapping[str, str], *, code: str = "", more: str = "") -> Iterator[None]:
    """Make this distribution require a package, and one more, in its extra `models`; `code` is what importing it runs.

    Parameters
    ----------
    folder : Path
        A folder for what is imported.
    packages : Mapping[str, str]
        Versions of what is installed.
    """
    (folder / "broken_thing.py").write_text(code)
    required = [
        "broken-thing>=2.10; extra == 'models'",
        'viscy-compat[models]; extra == "explore"',
        "pyyaml>=6; extra == 'config'",
        *([f"{more}; extra == 'models'"] if more else []),
    ]

    def version(name: str) -> str:
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    with (
        mock.patch.object(metadata, "requires", return_value=required),
        mock.patch.object(metadata, "version", version),
        mock.patch.dict(os.environ, {"PYTHONPATH": str(folder), "VISCY_COMPAT_CACHE": str(folder / "cache")}),
    ):
        yield
