"""Findings, verdicts and reports: what the judging rooms hand to the speaking ones.

The catalogue of finding codes is data. A code never changes its meaning; a new meaning gets a new code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from viscy_compat import __version__

Severity = Literal["error", "warning", "note"]
Verdict = Literal["compatible", "remappable", "incompatible", "unknown", "unreadable"]

EXIT_CODES: dict[Verdict, int] = {"compatible": 0, "remappable": 1, "incompatible": 1, "unknown": 2, "unreadable": 2}


class Code(NamedTuple):
    """One entry of the catalogue: what a code means, and what a reader can do about it."""

    id: str
    severity: Severity
    title: str
    meaning: str
    remedy: str


_ENTRIES: tuple[Code, ...] = ()

CATALOGUE: dict[str, Code] = {entry.id: entry for entry in _ENTRIES}


class Finding(NamedTuple):
    """One cause, said once: its code, a sentence, the keys it concerns, and the fix.

    ``keys`` may be folded patterns (`viscy_compat.layout.fold`).
    """

    code: str
    message: str
    keys: tuple[str, ...] = ()
    fix: str = ""

    @property
    def severity(self) -> Severity:
        """The severity that the catalogue gives to the code."""
        return CATALOGUE[self.code].severity

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as the JSON of the contract has it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "keys": list(self.keys),
            "fix": self.fix,
        }


class Result(Protocol):
    """What a report holds one of for each file or class that it is about."""

    @property
    def title(self) -> str:
        """The file or class that the result is about."""

    @property
    def exit_code(self) -> int:
        """0, 1 or 2, as the contract has it."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Everything that was found, most severe first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""


class Report:
    """The results of one run of one command.

    Parameters
    ----------
    command : str
        The command that made it (``"check"``).
    results : Iterable[Result]
        One for each file or class.
    headline : str, optional
        What must be said first: the source that was compared with, a fall-back.
    exit_code : int, optional
        At least this, whatever the results say (a fall-back that nobody asked for is 2).
    """

    __slots__ = ("_floor", "command", "headline", "results")

    def __init__(self, command: str, results: Iterable[Result], *, headline: str = "", exit_code: int = 0) -> None:
        self.command, self.results, self.headline, self._floor = command, tuple(results), headline, exit_code

    @property
    def exit_code(self) -> int:
        """The highest exit code of the results."""
        return max([self._floor, *(result.exit_code for result in self.results)])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all results."""
        return tuple(finding for result in self.results for finding in result.findings)

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``--format json`` prints."""
        return {
            "schema": 1,
            "tool": {"name": "viscy-compat", "version": __version__, "command": self.command},
            **({"headline": self.headline} if self.headline else {}),
            "results": [result.to_dict() for result in self.results],
        }
