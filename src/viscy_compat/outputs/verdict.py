"""What an agreement means for a checkpoint: a refusal, or findings that a report lists."""

from __future__ import annotations

from collections.abc import Iterator

from viscy_compat.agreement import Agreement
from viscy_compat.errors import PlanRefused
from viscy_compat.findings import Finding
from viscy_compat.layout import spell_count

_FIXES = {
    "VC350": "state what is known (--set, --expect-precision), or look for the layer that differs: docs/expect.md",
    "VC351": "look for that difference between the code that made the outputs and the migrated class",
}


def refuse(agreement: Agreement) -> None:
    """Raise `PlanRefused` where the outputs are not those of the model."""
    if agreement.refusal:
        raise PlanRefused(agreement.refusal, where=agreement.file, fix=_FIXES[agreement.code], code=agreement.code)


def findings_about(agreement: Agreement) -> Iterator[Finding]:
    """Yield what a report lists beside the outputs."""
    if agreement.refusal:
        yield Finding(agreement.code, agreement.refusal, fix=_FIXES[agreement.code])
        return
    if agreement.undecided:
        said = f"the outputs do not exclude {spell_count(len(agreement.undecided), 'alteration')}"
        yield Finding("VC352", said, tuple(row.what for row in agreement.undecided))
    passed_by = [
        *(f"{row.name}: {row.left_out}" for row in agreement.outputs if row.left_out),
        *(f"{name}: the file does not have it" for name in agreement.missing),
        *(f"{name}: no output of the class" for name in agreement.extra),
    ]
    if passed_by:
        yield Finding("VC353", f"{spell_count(len(passed_by), 'output', 'was', 'were')} not compared", tuple(passed_by))
