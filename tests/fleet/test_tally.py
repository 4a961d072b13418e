"""Ten thousand files are a dozen rows, and the memory of a sum does not grow with them."""

from __future__ import annotations

from viscy_compat.findings import Verdict
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.tally import Tally


def test_ten_thousand_files_are_a_dozen_rows() -> None:
    tally = Tally()
    verdicts: tuple[Verdict, ...] = ("compatible", "remappable", "unknown")
    for number in range(10_000):
        kind = verdicts[number % 3]
        tally.add(
            AuditRow(f"{number}.ckpt", kind, size=number, class_name="Unet2d", generation="v0.4", codes={"VC105": 2})
        )
    rows = tally.rows()
    assert [(row.group, row.value, row.files) for row in rows] == [
        ("verdict", "compatible", 3_334),
        ("verdict", "remappable", 3_333),
        ("verdict", "unknown", 3_333),
        ("class", "Unet2d", 10_000),
        ("generation", "Unet2d v0.4", 10_000),
        ("finding", "VC105", 10_000),
    ]
    assert rows[0].bytes == sum(range(0, 10_000, 3))
    assert rows[0].examples == ("0.ckpt", "3.ckpt")


def test_values_beyond_a_thousand_are_one_row() -> None:
    tally = Tally()
    for number in range(3_000):
        tally.add(AuditRow("a", "compatible", needs=(f"argument_{number}",)))
    assert len(tally.rows()) <= 1_001
    assert sum(row.files for row in tally.rows() if row.group == "to be stated") == 3_000


def test_foreign_files_are_no_verdict() -> None:
    tally = Tally()
    tally.add(AuditRow("optimizer.pt", "unreadable", foreign="the state of an optimizer", codes={"VC444": 1}))
    assert [(row.group, row.value) for row in tally.rows()] == [("verdict", "foreign")]
