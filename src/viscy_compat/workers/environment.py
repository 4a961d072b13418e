"""Faults of the candidate's environment: what must be installed first, told apart from what its code does wrong."""

from __future__ import annotations

import operator
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from viscy_compat.errors import MissingExtra, WorkerFailed
from viscy_compat.layout import printable
from viscy_compat.waivers import version_numbers
from viscy_compat.workers.answers import Raised

CODE = "VC342"
_QUOTED = re.compile(r"'([^']+)'")
_BOUND = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*([\d.]+)")
_SIGNS = {">=": operator.ge, "~=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_ABOVE = 4
"""How many folders above the package its project may be (``packages/NAME/src``)."""


class CandidatePlace(NamedTuple):
    """Where a package is imported: its import name, the folder that it was asked from, and an interpreter."""

    root: str
    folder: str
    python: str
    version: str = ""


def fault(raised: Raised, place: CandidatePlace) -> MissingExtra | None:
    """Return what the environment lacks, where that is why strange code raised; None where the code itself is to blame.

    Examples
    --------
    >>> place = CandidatePlace("viscy_models", "", "python")
    >>> print(fault(Raised("import", "ModuleNotFoundError", "No module named 'timm'"), place))
    --candidate: viscy_models needs timm, which python does not have; install it first: python -m pip install timm
    >>> fault(Raised("import", "ModuleNotFoundError", "No module named 'viscy_models.vae'"), place)
    >>> fault(Raised("import", "AttributeError", "no"), place)
    """
    if raised.type == "PackageNotFoundError":
        name = raised.message.split()[-1] if raised.message.split() else place.root
        message = f"{place.root} reads the metadata of {name} when it is imported, and {place.python} has none"
        return _missing_extra(message, place, name)
    if raised.type == "ModuleNotFoundError":
        name = next(iter(_QUOTED.findall(raised.message)), "")
        if not name or name.partition(".")[0] == place.root.partition(".")[0]:
            return None
        return _missing_extra(
            f"{place.root} needs {name}, which {place.python} does not have", place, name.partition(".")[0]
        )
    if raised.type in ("SyntaxError", "ImportError") and (wanted := _wrong_python(place)):
        message = f"{place.root} needs Python {wanted}, and {place.python} is {place.version} ({_words_of(raised)})"
        return MissingExtra(message, where="--candidate", fix="name another one with --candidate-python", code=CODE)
    return None


def import_failure(raised: Raised, place: CandidatePlace) -> MissingExtra | WorkerFailed:
    """Return the error for a package whose import raises, whatever it raises."""
    found = fault(raised, place)
    if found:
        return found
    message = f"importing {place.root} with {place.python} raises {_words_of(raised)}"
    fix = "nothing can be judged before it can be imported"
    return WorkerFailed(message, where="--candidate", fix=fix, code=CODE)


def install_line(place: CandidatePlace, name: str) -> str:
    """Return the command that installs the project of a folder, or a package, for an interpreter."""
    project = _project(place.folder)
    what = f"-e {printable(str(project))}" if project else name
    uv = "uv =" in _text_of_file(Path(place.python).parent.parent / "pyvenv.cfg")
    return f"uv pip install --python {place.python} {what}" if uv else f"{place.python} -m pip install {what}"


def _missing_extra(message: str, place: CandidatePlace, name: str) -> MissingExtra:
    fix = f"install it first: {install_line(place, name)}"
    return MissingExtra(printable(message), where="--candidate", fix=fix, code=CODE)


def _wrong_python(place: CandidatePlace) -> str:
    """Return what the project asks of Python, where the interpreter does not have it."""
    project = _project(place.folder)
    wanted = str(_project_table(project).get("requires-python", "")) if project else ""
    version = version_numbers(place.version)
    # == and != may hold a star, which is not read here: a wrong refusal would be worse than none
    bounds = [(_SIGNS[sign], version_numbers(bound)) for sign, bound in _BOUND.findall(wanted) if sign in _SIGNS]
    met = all(compare(version, bound) for compare, bound in bounds)
    return "" if met or not place.version else wanted


def _project(folder: str) -> Path | None:
    """Return the nearest folder at or above this one that is a project."""
    if not folder:
        return None
    places = [Path(folder), *Path(folder).parents][:_ABOVE]
    return next((place for place in places if _project_table(place)), None)


def _project_table(place: Path) -> Mapping[str, Any]:
    try:
        found = tomllib.loads(_text_of_file(place / "pyproject.toml")).get("project", {})
    except tomllib.TOMLDecodeError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _text_of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if os.path.isfile(path) else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _words_of(raised: Raised) -> str:
    return printable(str(raised).replace(" at import", ""))
