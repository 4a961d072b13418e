"""How an audit went, as reports need it: rows that are read again from the ledger, their sum, the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from viscy_compat.findings import CATALOGUE, Aside, Finding, Selection, Verdict, html_of, line_of
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.tally import Tally
from viscy_compat.named import NamedTuple

ForeignPolicy = Literal["aside", "fail", "skip"]


class Policy(NamedTuple):
    """Which verdicts are let pass, and what becomes of files that are no checkpoints and are not meant to be.

    ``aside``: they have a row and change no exit code; ``fail``: they count as unreadable; ``skip``: they have no row.
    ``selection``: which findings are shown; no verdict depends on it.
    """

    allow: tuple[Verdict, ...] = ()
    foreign: ForeignPolicy = "aside"
    selection: Selection = Selection()

    def exit_code(self, row: AuditRow) -> int:
        """Return what a row contributes to the exit code."""
        if row.verdict in self.allow or (row.foreign and self.foreign != "fail"):
            return 0
        return row.exit_code

    def settle(self, aside: Iterable[Aside]) -> list[Aside]:
        """Return what was passed over; where files may be unreadable, so may folders."""
        return [Aside(*row) if "unreadable" in self.allow else row for row in aside]

    def keeps(self, row: AuditRow) -> bool:
        """Say whether a row is reported."""
        return not (row.foreign and self.foreign == "skip")

    def shown(self, row: AuditRow) -> AuditRow:
        """Return a row with the findings that are to be shown."""
        codes = {code: count for code, count in row.codes.items() if self.selection.keeps(code)}
        if len(codes) == len(row.codes):
            return row
        # the message of a row is that of its first error
        first = next((code for code in row.codes if CATALOGUE[code].severity == "error"), "")
        return row._replace(codes=codes, message=row.message if first in codes else "")


class ReportedRow:
    """A row as the renderers that all commands share take it."""

    def __init__(self, row: AuditRow, exit_code: int) -> None:
        self.row, self.exit_code, self.title = row, exit_code, row.file

    def __repr__(self) -> str:
        return line_of(self, f"{self.row.class_name} {self.row.generation}".strip())

    def _repr_html_(self) -> str:
        return html_of("audit", self)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the file."""
        return self.row.verdict

    @property
    def findings(self) -> Sequence[Finding]:
        """One for each code; the first tells what there is to tell, where the file does not hold."""
        messages = {
            code: CATALOGUE[code].title + (f" ({count} times)" if count > 1 else "")
            for code, count in self.row.codes.items()
        }
        if self.row.message and messages:
            messages[next(iter(messages))] = self.row.message
        return [Finding(code, message, fix=self.row.next) for code, message in messages.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return the row."""
        return self.row.to_dict()


class AuditOutcome(NamedTuple):
    """What reports are made of; `read` gives the rows anew, in their order, one at a time."""

    read: Callable[[], Iterator[AuditRow]]
    tally: Tally
    policy: Policy
    exit_code: int
    aside: Sequence[Aside] = ()
    interrupted: bool = False

    def rows(self) -> Iterator[AuditRow]:
        """Yield the rows that are reported."""
        return map(self.policy.shown, filter(self.policy.keeps, self.read()))
