"""Differences that a maintainer accepts for a while: rows of a configuration, each with a reason and an expiry.

They stand in ``viscy-compat.toml`` as ``[accepted.ID]``, or in ``pyproject.toml`` as ``[tool.viscy-compat.accepted.ID]``:

    [tool.viscy-compat.accepted.slower-eps]
    class = "BetaVae25D"
    code = "VC501"
    reason = "eps follows timm until our own norm is there"
    expires = 2027-01-31

``code`` is a finding code; ``law`` is one of `explore`'s laws instead. ``expires`` is a date, or the version of the
project (``"1.2.0"``) from which on the row counts no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from viscy_compat.errors import UsageError
from viscy_compat.exhibits import Table
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.named import NamedTuple
from viscy_compat.regular_files import read_small

NAMES = ("viscy-compat.toml", "pyproject.toml")
_REQUIRED: dict[str, type | tuple[type, ...]] = {"class": str, "reason": str, "expires": (str, date)}
_CHOICE = ("code", "law")


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


def read_waivers(path: str | os.PathLike[str] | None = None, *, today: date | None = None) -> tuple[Waiver, ...]:
    """Read the accepted differences of a configuration.

    Parameters
    ----------
    path : path, optional
        The file; by default the first of `NAMES` in the current folder that has such rows.
    today : date, optional
        The day on which dates are judged; that of ``SOURCE_DATE_EPOCH`` or of the clock by default.

    Raises
    ------
    UsageError
        The file cannot be read, or a row is not what a row must be.
    """
    day = today or _today()
    for name in [os.fspath(path)] if path is not None else NAMES:
        if path is None and not os.path.isfile(name):
            continue
        document = _document(name)
        rows = _rows(document, pyproject=os.path.basename(name) == "pyproject.toml", where=name)
        if rows or path is not None:
            version = _project_version(document)
            return tuple(_waiver(key, row, version, day, f"{name}: accepted.{key}") for key, row in rows.items())
    return ()


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without what marks it as a pre-release and without trailing zeros.

    Examples
    --------
    >>> numbers("1.2.0"), numbers("0.10rc1"), numbers("next")
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


def unused(waivers: Iterable[Waiver], used: Iterable[str]) -> tuple[Waiver, ...]:
    """Return the rows that nothing used.

    Examples
    --------
    >>> rows = (Waiver("a", "*", "VC501", "", "1"), Waiver("b", "*", "VC502", "", "1"))
    >>> [row.id for row in unused(rows, ["a"])]
    ['b']
    """
    seen = set(used)
    return tuple(waiver for waiver in waivers if waiver.id not in seen)


def judged(waivers: Iterable[Waiver], used: Iterable[str] | None) -> tuple[Finding, ...]:
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
    >>> [finding.code for finding in judged(rows, [])], [finding.code for finding in judged(rows, None)]
    (['VC621', 'VC622'], ['VC621'])
    """
    rows = tuple(waivers)
    idle = unused(rows, used) if used is not None else ()
    told = [("VC621", row) for row in rows if row.expired] + [("VC622", row) for row in idle if not row.expired]
    return tuple(Finding(code, str(row), fix=CATALOGUE[code].remedy) for code, row in told)


def table_of(waivers: Iterable[Waiver]) -> Table:
    """Return the rows as a table for the documents."""
    told = [(row.id, row.class_name, row.about, str(row.expires), row.reason) for row in waivers]
    return Table("waivers", ("id", "class", "about", "expires", "reason"), tuple(told))


_MOST_BYTES = 1 << 20
"""A table of accepted differences, or a pyproject.toml, is a few kilobytes."""


def _today() -> date:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return (
        datetime.fromtimestamp(int(epoch), UTC).date()
        if epoch.isdigit() and len(epoch) < 12
        else datetime.now(UTC).date()
    )


def _document(name: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_small(name, _MOST_BYTES, "a list of waivers").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is no TOML ({error})", where=name) from error


def _rows(document: Mapping[str, Any], *, pyproject: bool, where: str) -> Mapping[str, Any]:
    found: Any = document
    for key in ("tool", "viscy-compat", "accepted") if pyproject else ("accepted",):
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    if not isinstance(found, Mapping):
        raise UsageError("'accepted' holds no rows", where=where, fix="write each row as a table [....accepted.ID]")
    return found


def _project_version(document: Mapping[str, Any]) -> str:
    project = document.get("project", {})
    return str(project.get("version", "")) if isinstance(project, Mapping) else ""


def _waiver(name: str, row: Any, version: str, today: date, where: str) -> Waiver:
    complaint = _complaint(row)
    if complaint:
        raise UsageError(complaint, where=where, fix="a row has class, code (or law), reason and expires")
    expires = row["expires"]
    if isinstance(expires, date):
        expired = (expires.date() if isinstance(expires, datetime) else expires) <= today
    else:
        expired = _has_come(expires, version, where)
    return Waiver(name, row["class"], row.get("code") or row["law"], row["reason"], expires, expired)


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
    return "" if len(given) == 1 else "needs either code or law"


def _has_come(expires: str, version: str, where: str) -> bool:
    if not numbers(expires):
        raise UsageError(f"{expires!r} is neither a date nor a version", where=where, fix="expires = 2027-01-31")
    if not numbers(version):
        message = "expires with a version, and the project's version does not stand in this file"
        raise UsageError(message, where=where, fix="give a date: expires = 2027-01-31")
    return numbers(version) >= numbers(expires)
