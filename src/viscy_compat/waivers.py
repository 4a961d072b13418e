"""The configuration of a project that is judged: above all the differences that a maintainer accepts for a while.

Those are rows, each with a reason and an expiry. They stand in ``viscy-compat.toml`` as ``[accepted.ID]``, or in
``pyproject.toml`` as ``[tool.viscy-compat.accepted.ID]``:

    [tool.viscy-compat.accepted.slower-eps]
    class = "BetaVae25D"
    code = "VC501"
    reason = "eps follows timm until our own norm is there"
    expires = 2027-01-31

``code`` is a finding code; ``law`` is one of `explore`'s laws instead. ``expires`` is a date, or the version of the
project (``"1.2.0"``) from which on the row counts no more.

Beside ``accepted`` the configuration may have ``names``, the public names that the package promises besides its classes
(``["viscy_models.contrastive.encoder:projection_mlp"]``), and ``classes``, those that are judged where none are named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from viscy_compat.errors import UsageError
from viscy_compat.exhibits import Table
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.named import NamedTuple
from viscy_compat.regular_files import read_small

NAMES = ("viscy-compat.toml", "pyproject.toml")
"""Looked for in this order; the first one that says something counts."""

_REQUIRED: dict[str, type | tuple[type, ...]] = {"class": str, "reason": str, "expires": (str, date)}
_CHOICE = ("code", "law")
KEYS = ("accepted", "names", "classes")
"""What a configuration may hold."""

LAWS = (
    "inference",
    "reconstruction",
    "old-equals-new",
    "shape-rule",
    "layout",
    "batch-and-mode",
    "members",
    "every-slice",
    "round-trip",
)
"""The names of the laws of `explore`, which a row may be about."""


class Waiver(NamedTuple):
    """One accepted difference.

    Parameters
    ----------
    id : str
        The name of the row.
    class_name : str
        The class that it is about; ``"*"`` for all.
    about : str
        A finding code, or a law.
    reason : str
        Why it is accepted.
    expires : str or date
        The day, or the version of the project, from which on it counts no more.
    expired : bool
        Whether that has come.
    """

    id: str
    class_name: str
    about: str
    reason: str
    expires: str | date
    expired: bool = False

    def covers(self, class_name: str, about: str) -> bool:
        """Whether the row is about a finding code, or a law, of a class.

        Examples
        --------
        >>> row = Waiver("eps", "BetaVae25D", "VC501", "why", "1.2")
        >>> row.covers("BetaVae25D", "VC501"), row.covers("BetaVae25D", "VC502")
        (True, False)
        >>> row._replace(class_name="*").covers("ResNet3dEncoder", "VC501")
        True
        """
        return self.about == about and self.class_name in ("*", class_name)

    def __str__(self) -> str:
        return f"{self.id} ({self.class_name} {self.about}, until {self.expires}): {self.reason}"


class Configuration(NamedTuple):
    """What a project says about how it is judged.

    Parameters
    ----------
    waivers : tuple[Waiver, ...]
        The accepted differences.
    names : tuple[str, ...] or None
        The public names that the package promises besides its classes; None where it says nothing about them.
    classes : tuple[str, ...]
        The classes that are judged where none are named.
    """

    waivers: tuple[Waiver, ...] = ()
    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()


def read_configuration(
    path: str | os.PathLike[str] | None = None, *, near: Sequence[str] = (".",), today: date | None = None
) -> Configuration:
    """Read the configuration of a project.

    Parameters
    ----------
    path : path, optional
        The file; by default the first of `NAMES` that holds anything of ours, in one of the folders `near` or above it,
        up to the root of its clone.
    near : Sequence[str]
        Where to begin: the candidate's folder, the current folder.
    today : date, optional
        The day on which dates are judged; that of ``SOURCE_DATE_EPOCH`` or of the clock by default.

    Raises
    ------
    UsageError
        The file cannot be read, has a key that means nothing, or a row is not what a row must be.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    # reproducible builds state the day; twelve digits of seconds are beyond what a date can be
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() and len(epoch) < 12 else datetime.now(UTC)
    day = today or now.date()
    for name in [os.fspath(path)] if path is not None else _places(near):
        document = _document(name)
        table = _our_table(document, pyproject=os.path.basename(name) == "pyproject.toml", where=name)
        if table or path is not None:
            project = document.get("project", {})
            project_version = str(project.get("version", "")) if isinstance(project, Mapping) else ""
            return _configuration(table, project_version, day, name)
    return Configuration()


def read_waivers(path: str | os.PathLike[str] | None = None, *, today: date | None = None) -> tuple[Waiver, ...]:
    """Read the accepted differences of a configuration; see `read_configuration`."""
    return read_configuration(path, today=today).waivers


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without what marks it as a pre-release and without trailing zeros.

    Examples
    --------
    >>> version_numbers("1.2.0"), version_numbers("0.10rc1"), version_numbers("next")
    ((1, 2), (0, 10), ())
    """
    found: list[int] = []
    for part in version.strip().removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def unused_rows(waivers: Iterable[Waiver], used: Iterable[str]) -> tuple[Waiver, ...]:
    """Return the rows that nothing used.

    Examples
    --------
    >>> rows = (Waiver("a", "*", "VC501", "", "1"), Waiver("b", "*", "VC502", "", "1"))
    >>> [row.id for row in unused_rows(rows, ["a"])]
    ['b']
    """
    seen = set(used)
    return tuple(waiver for waiver in waivers if waiver.id not in seen)


def judge_waivers(waivers: Iterable[Waiver], used: Iterable[str] | None) -> tuple[Finding, ...]:
    """Judge the rows themselves: those that have expired, and those that cover nothing.

    Parameters
    ----------
    waivers : Iterable[Waiver]
        The rows.
    used : Iterable[str], optional
        The ids of those that covered something; None where too little was looked at to call any of them unused.

    Examples
    --------
    >>> rows = (Waiver("a", "*", "VC501", "", "1", expired=True), Waiver("b", "*", "VC502", "", "1"))
    >>> [finding.code for finding in judge_waivers(rows, [])], [finding.code for finding in judge_waivers(rows, None)]
    (['VC621', 'VC622'], ['VC621'])
    """
    rows = tuple(waivers)
    idle = unused_rows(rows, used) if used is not None else ()
    pairs = [("VC621", row) for row in rows if row.expired] + [("VC622", row) for row in idle if not row.expired]
    return tuple(Finding(code, str(row), fix=CATALOGUE[code].remedy) for code, row in pairs)


def table_of(waivers: Iterable[Waiver]) -> Table:
    """Return the rows as a table for the documents."""
    cells = [(row.id, row.class_name, row.about, str(row.expires), row.reason) for row in waivers]
    return Table("waivers", ("id", "class", "about", "expires", "reason"), tuple(cells))


_MOST_BYTES = 1 << 20
"""A table of accepted differences, or a pyproject.toml, is a few kilobytes."""


def _document(name: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_small(name, _MOST_BYTES, "a list of waivers").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is no TOML ({error})", where=name) from error


def _places(near: Sequence[str]) -> Iterator[str]:
    """Give every file that could be the configuration, those of the folders themselves first."""
    for start in near:
        folder, below = os.path.abspath(start), ""
        # up to the root of the clone: what lies above it is another project's
        while folder != below and not (below and os.path.exists(os.path.join(below, ".git"))):
            for name in NAMES:
                # in the current folder by its bare name, as the user would call it
                place = name if folder == os.getcwd() else os.path.join(folder, name)
                if os.path.isfile(place):
                    yield place
            folder, below = os.path.dirname(folder), folder


def _our_table(document: Mapping[str, Any], *, pyproject: bool, where: str) -> Mapping[str, Any]:
    """Return our part of a document, every key of which must mean something."""
    if not pyproject:
        return _refuse_strange_keys(document, where)
    tools = document.get("tool", {})
    tools = tools if isinstance(tools, Mapping) else {}
    for name in tools:
        letters = "".join(char for char in name.lower() if char.isalnum())
        # tables of other tools are theirs; what is nearly our name is a mistake that would go unseen
        if name != "viscy-compat" and _suggest(letters, ["viscycompat"], 0.9).startswith("did"):
            raise UsageError(f"[tool.{name}] means nothing", where=where, fix="write [tool.viscy-compat]")
    table = tools.get("viscy-compat", {})
    if not isinstance(table, Mapping):
        raise UsageError("tool.viscy-compat is no table", where=where)
    return _refuse_strange_keys(table, where)


def _refuse_strange_keys(table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    for name in table:
        if name not in KEYS:
            raise UsageError(f"there is no key {name!r}", where=where, fix=_suggest(name, KEYS))
    return table


def _suggest(name: str, names: Iterable[str], likeness: float = 0.6) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1, cutoff=likeness)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _configuration(table: Mapping[str, Any], version: str, day: date, where: str) -> Configuration:
    rows = table.get("accepted", {})
    if not isinstance(rows, Mapping):
        parents = "tool.viscy-compat." if where.endswith("pyproject.toml") else ""
        fix = f"write each row as a table [{parents}accepted.ID]"
        raise UsageError("'accepted' holds no rows", where=where, fix=fix)
    waivers = tuple(_waiver(key, row, version, day, f"{where}: accepted.{key}") for key, row in rows.items())
    names = _list_of_names(table, "names", where) if "names" in table else None
    return Configuration(waivers=waivers, names=names, classes=_list_of_names(table, "classes", where))


def _list_of_names(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
        raise UsageError(f"{key!r} is no list of names", where=where, fix=f'for example {key} = ["..."]')
    return tuple(found)


def _waiver(name: str, row: Any, version: str, today: date, where: str) -> Waiver:
    complaint = _complaint(row)
    if complaint:
        raise UsageError(complaint, where=where, fix="a row has class, code (or law), reason and expires")
    expires = row["expires"]
    if isinstance(expires, date):
        expired = (expires.date() if isinstance(expires, datetime) else expires) <= today
    else:
        if not version_numbers(expires):
            raise UsageError(f"{expires!r} is neither a date nor a version", where=where, fix="expires = 2027-01-31")
        if not version_numbers(version):
            message = "expires with a version, and the project's version does not stand in this file"
            raise UsageError(message, where=where, fix="give a date: expires = 2027-01-31")
        expired = version_numbers(version) >= version_numbers(expires)
    return Waiver(
        name, row["class"], about=row.get("code") or row["law"], reason=row["reason"], expires=expires, expired=expired
    )


def _complaint(row: Any) -> str:
    if not isinstance(row, Mapping):
        return "is no table"
    strange = set(row) - {*_REQUIRED, *_CHOICE}
    if strange:
        return f"has no field {', '.join(sorted(strange))}"
    absent = [name for name, kind in _REQUIRED.items() if not isinstance(row.get(name), kind) or row[name] == ""]
    if absent:
        return f"lacks {', '.join(absent)}"
    given = [name for name in _CHOICE if isinstance(row.get(name), str) and row[name]]
    if len(given) != 1:
        return "needs either code or law"
    code, law = row.get("code"), row.get("law")
    # what does not exist would be covered for good
    if code and code not in CATALOGUE:
        return f"is about {code}, and there is no such code (viscy-compat explain lists them)"
    return (
        f"is about the law {law!r}, and there is no such law ({_suggest(law, LAWS)})" if law and law not in LAWS else ""
    )
