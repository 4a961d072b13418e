"""What comparing one class came to: a result of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from viscy_compat.comparison.amounts import worst_of
from viscy_compat.comparison.failures import UNDECIDED, Failure
from viscy_compat.findings import CATALOGUE, Finding, html_of, line_of
from viscy_compat.layout import spell_count
from viscy_compat.workers.worker import Conditions


@dataclass(frozen=True)
class Origin:
    """What one class was compared with, and under what conditions.

    Parameters
    ----------
    kind : {"git", "wheel", "recorded"}
        The kind of source.
    revision : str
        Commit, version, or the generation's name.
    blobs : Mapping[str, str]
        Git blob ids by path.
    proven : bool
        Whether they are those recorded for the generation.
    conditions : tuple[Conditions, ...]
        Of the old worker and of the candidate's; of the latter alone where references were compared with.
    """

    kind: Literal["git", "wheel", "recorded"]
    revision: str
    blobs: Mapping[str, str]
    proven: bool
    conditions: tuple[Conditions, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the ``source`` of the contract."""
        return {"kind": self.kind, "revision": self.revision, "blobs": dict(self.blobs), "proven": self.proven}


@dataclass(frozen=True)
class ClassResult:
    """What comparing one class came to: a result of the report.

    Parameters
    ----------
    name, generation : str
        The class and the generation of its old side.
    origin : Origin
        What it was compared with.
    configurations : int
        How many cases were compared.
    failures : tuple[Failure, ...]
        Every difference that no row accepts.
    accepted : tuple[str, ...]
        The accepted differences that were used.
    notes : tuple[Finding, ...]
        Findings that are no failures.
    wording : Callable[[str], str]
        In whose words remedies are said: `viscy_compat.python_words.in_python` for those who called a function.
    """

    name: str
    generation: str
    origin: Origin
    configurations: int
    failures: tuple[Failure, ...] = ()
    accepted: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = field(default=())
    wording: Callable[[str], str] = field(default=str, compare=False, repr=False)

    @property
    def title(self) -> str:
        """The class."""
        return self.name

    @property
    def exit_code(self) -> int:
        """1 where anything differs, 2 where a case could not be decided."""
        codes = {failure.code for failure in self.failures}
        if UNDECIDED in codes:
            return 2
        return int(any(CATALOGUE[code].severity == "error" for code in codes))

    @property
    def findings(self) -> Sequence[Finding]:
        """One finding for each code, module and set of keys, with the cases in which it was seen."""
        groups: dict[tuple[str, str, tuple[str, ...]], list[Failure]] = {}
        for failure in self.failures:
            groups.setdefault((failure.code, failure.module, failure.keys), []).append(failure)
        found = []
        for failures in groups.values():
            # failures of one cause are said once, in the words of the worst of them
            worst = max(failures, key=lambda failure: worst_of(failure.amounts))
            names = list(dict.fromkeys(failure.case.name for failure in failures if failure.case))
            few = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            # where the words of the worst name its mode, what differs in the other too is no matter of that mode alone
            others = {failure.mode for failure in failures} - {worst.mode}
            is_named = f"in {worst.mode} mode" in worst.message
            too = "".join(f", in {mode} mode too" for mode in sorted(others) if mode and is_named)
            cases = f" (in {spell_count(len(names), 'case')}{too}: {few})" if names else ""
            remedy = self.wording(CATALOGUE[worst.code].remedy)
            found.append(Finding(worst.code, f"{worst.sentence}{cases}", worst.keys, remedy))
        notes = (note._replace(fix=self.wording(note.fix)) for note in self.notes)
        return sorted([*found, *notes], key=lambda finding: CATALOGUE[finding.code].severity)

    def __repr__(self) -> str:
        return line_of(self, f"{self.generation}, {spell_count(self.configurations, 'case')}")

    def _repr_html_(self) -> str:
        return html_of("verify", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""
        isolation = [list(conditions.isolation) for conditions in self.origin.conditions]
        versions = [conditions.stack for conditions in self.origin.conditions]
        return {
            "class": self.name,
            "generation": self.generation,
            "source": self.origin.to_dict(),
            "configurations": self.configurations,
            "failures": [failure.to_dict() for failure in self.failures],
            "accepted": list(self.accepted),
            "notes": [note.to_dict() for note in self.notes],
            "conditions": versions,
            "isolation": isolation,
        }
