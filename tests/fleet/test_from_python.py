"""`vc.audit` gives the rows of the command as results, with the same ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import viscy_compat as vc
from support.files import torch_file
from viscy_compat.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "runs"
    place.mkdir()
    for number in (1, 2, 10):
        torch_file(place / f"epoch={number}.ckpt", [3, 5])
    (place / "broken.ckpt").write_bytes(b"PK\x03\x04 and no archive")
    return place


def test_the_results_are_the_rows_of_the_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = vc.audit(folder, ledger=tmp_path / "ledger.jsonl")
    words = ["audit", str(folder), "--ledger", str(tmp_path / "other.jsonl"), "--jobs", "1", "--format", "jsonl", "-q"]
    assert main(words) == report.exit_code == 2
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result.to_dict() for result in report.results] == printed
    assert [Path(result.title).name for result in report.results] == [
        "broken.ckpt",
        "epoch=1.ckpt",
        "epoch=2.ckpt",
        "epoch=10.ckpt",
    ]
    assert report.verdict == "unreadable"
    assert "4 files" in str(report)
    assert "epoch=10.ckpt" in report._repr_html_()
    assert repr(report.results[0]).startswith("<ReportedRow")


def test_a_second_call_goes_on_from_the_ledger_and_verdicts_may_be_allowed(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    first = vc.audit(folder, ledger=ledger)
    before = ledger.read_bytes()
    again = vc.audit(folder, ledger=ledger, allow=["unknown", "unreadable"])
    assert [result.to_dict() for result in again.results] == [result.to_dict() for result in first.results]
    assert (bool(first), bool(again)) == (False, True)
    assert ledger.read_bytes() == before


def test_what_is_stated_reaches_every_file(folder: Path, tmp_path: Path) -> None:
    report = vc.audit(folder, class_name="BetaVaeMonai", ledger=tmp_path / "ledger.jsonl")
    for result in report.results:
        alone = vc.check(result.title, class_name="BetaVaeMonai")
        assert result.verdict == alone.verdict
        assert {finding.code for finding in result.findings} == {finding.code for finding in alone.findings}
