"""Copies of the migrated package with a line or two changed, as a careless commit would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "viscy_models"


class Edit(NamedTuple):
    """A piece of text in a file of the package, and what it becomes."""

    file: str
    old: str
    new: str


def mutant(folder: Path, *edits: Edit) -> Path:
    """Copy the package into a folder, make the edits there, and return the folder for ``--candidate``.

    An edit whose text does not occur exactly once is an error: the mutant would prove nothing.
    """
    shutil.copytree(PACKAGE, folder / "viscy_models", ignore=shutil.ignore_patterns("__pycache__"))
    return changed(folder, *edits)


def changed(folder: Path, *edits: Edit) -> Path:
    """Make edits in a copy."""
    for edit in edits:
        path = folder / "viscy_models" / edit.file
        text = path.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.old!r} occurs {text.count(edit.old)} times in {edit.file}"
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return folder


UPSTREAM_INIT = "from importlib.metadata import version\n\n__version__ = version({name!r})\n\n"


def like_upstream(folder: Path, *edits: Edit, metadata: str = "viscy-models") -> Path:
    """Copy the package arranged as upstream's is, make the edits there, and return the folder for ``--candidate``.

    Its components are public, BetaVae25D has no ``pretrained``, the metadata is read at import, and a class is exported
    that we do not have.
    """
    mutant(folder)
    package = folder / "viscy_models"
    (package / "_components").rename(package / "components")
    for path in package.rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace("viscy_models._components", "viscy_models.components"))
    vae = package / "vae" / "beta_vae_25d.py"
    head, constructor, rest = vae.read_text(encoding="utf-8").rpartition(
        "    def __init__(\n        self,\n        backbone"
    )
    rest = rest.replace("        pretrained: bool = False,\n", "", 1)
    rest = rest.replace("            pretrained,\n", "            False,\n", 1)
    vae.write_text(head + constructor + rest, encoding="utf-8")
    init = package / "__init__.py"
    extra = "\n\nclass Unet3d:\n    pass\n\n\n__all__ += ['Unet3d']\n"
    init.write_text(UPSTREAM_INIT.format(name=metadata) + init.read_text(encoding="utf-8") + extra, encoding="utf-8")
    return changed(folder, *edits)
