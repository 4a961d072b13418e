"""The sum of an audit: counts, bytes and two examples of each verdict, class, generation, argument and finding code."""

from __future__ import annotations

from typing import Any, Final

from viscy_compat.fleet.row import AuditRow
from viscy_compat.named import NamedTuple

_EXAMPLES: Final = 2
_MOST_VALUES: Final = 1_000
"""Values of one kind that are told apart: hostile files cannot make the table grow without end."""

GROUPS: Final = ("verdict", "class", "generation", "to be stated", "finding")
"""What rows are summed up by, in the order of the table."""


class TallyRow(NamedTuple):
    """How many files share something, how many bytes they have, and two of them."""

    group: str
    value: str
    files: int
    bytes: int
    examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as ``--format json`` has it."""
        return {**self._asdict(), "examples": list(self.examples)}


class Tally:
    """Counts rows as they come, in a memory that does not grow with their number."""

    def __init__(self) -> None:
        self.files, self.bytes = 0, 0
        self._rows: dict[tuple[str, str], tuple[int, int, tuple[str, ...]]] = {}

    def add(self, row: AuditRow) -> None:
        """Count one file."""
        self.files += 1
        self.bytes += row.size
        pairs = [("verdict", row.kind)]
        # of what is no checkpoint there is nothing else to count
        if not row.foreign:
            if row.class_name:
                pairs += [("class", row.class_name), ("generation", f"{row.class_name} {row.generation}")]
            if row.needs:
                pairs.append(("to be stated", ", ".join(row.needs)))
            pairs += [("finding", code) for code in row.codes]
        for group, value in pairs:
            # what is counted already goes on under its name; only new values become others
            key = (group, value if (group, value) in self._rows or len(self._rows) < _MOST_VALUES else "others")
            files, total, examples = self._rows.get(key, (0, 0, ()))
            if len(examples) < _EXAMPLES:
                examples = (*examples, row.file)
            self._rows[key] = (files + 1, total + row.size, examples)

    def rows(self) -> list[TallyRow]:
        """Return the table: group by group, the most frequent values first."""
        rows = [TallyRow(group, value, *counts) for (group, value), counts in self._rows.items()]
        return sorted(rows, key=lambda row: (GROUPS.index(row.group), -row.files, row.value))

    def count(self, group: str, value: str) -> int:
        """Return how many files have a value."""
        return self._rows.get((group, value), (0, 0, ()))[0]
