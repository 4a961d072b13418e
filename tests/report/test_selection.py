"""`--select` and `--ignore` choose which findings are shown, in every command; what it comes to stays what it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from support.results import REPORTS
from support.schema import assert_described
from support.typed import COMMANDS, furnish
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult
from viscy_compat.findings import Finding, Report, Result, Selection
from viscy_compat.report import render
from viscy_compat.report.selection import in_selection
from viscy_compat.report.terminal import Style

TYPED = {
    "check": "VC302",
    "check against": "VC390",
    "remap": "VC302",
    "remap refused": "VC301",
    "inspect": "VC406",
    "diff": "VC391",
    "audit": "VC301",
}
"""Commands, and a code that each of them finds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("selection") / "in"
    place.mkdir()
    furnish(place)
    return place


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("flags", [["--ignore", "{code}"], ["--select", "VC4,VC5"], ["--select", "VC6"]])
@pytest.mark.parametrize("format", ["text", "json", "markdown", "github", "junit", "sarif", "html", "jsonl"])
@pytest.mark.parametrize("name", TYPED)
def test_a_finding_that_is_not_selected_is_shown_nowhere_and_changes_no_exit_code(
    name: str, format: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words, code = COMMANDS[name]
    words = re.sub(r" --ignore \w+", "", words)
    flag, chosen = flags[0], flags[1].format(code=TYPED[name])
    assert main([*words.split(), flag, chosen, "--format", format, "-v"]) == code
    out = capsys.readouterr().out
    shown = _codes_in(out, format)
    kept = Selection(ignore=(chosen,)) if flag == "--ignore" else Selection(select=(*chosen.split(","),))
    assert [code for code in shown if not kept.keeps(code)] == []
    if format == "json":
        assert_described(json.loads(out))


def _codes_in(document: str, format: str) -> set[str]:
    """The codes of findings in a document, without those that it says were ignored, and the catalogue of SARIF."""
    if format == "sarif":
        return {result["ruleId"] for result in json.loads(document)["runs"][0]["results"] if "ruleId" in result}
    if format == "json":
        document = re.sub(r'"ignored": \[[^]]*\]', "", document)
    return set(re.findall(r"VC\d{3}", re.sub(r"ignored.*?VC\d{3}(?:.{1,9}VC\d{3})*", "", document, flags=re.DOTALL)))


@pytest.mark.parametrize(("name", "code"), [("verify", "VC501"), ("gate", "VC311"), ("record", "VC607")])
def test_a_gate_is_no_more_open_for_what_it_does_not_show(name: str, code: str) -> None:
    report = REPORTS[name]()
    chosen = in_selection(report, Selection(ignore=(code,)))
    assert (chosen.exit_code, len(chosen.results)) == (report.exit_code, len(report.results))
    assert code in {finding.code for finding in report.findings}
    assert code not in {finding.code for finding in chosen.findings}
    assert [row["ignored"] for row in chosen.to_dict()["results"] if "ignored" in row] == [[code]]
    assert_described(chosen.to_dict())
    for format in ("text", "html", "junit"):
        assert render(chosen, format, Style())
    assert not re.search(rf"error {code}", render(chosen, "text", Style(verbose=True)))


def test_what_a_row_of_an_audit_says_goes_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "old.safetensors", "--ledger", "../a.jsonl", "--jobs", "1", "--format", "json"]
    assert main([*words, "--ignore", "VC105"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert "message" not in report["results"][0]
    assert {row["value"] for row in report["summary"] if row["group"] == "finding"} == {"VC302", "VC303"}
    # the ledger has everything
    assert main(words) == 1
    assert "VC105" in json.loads(capsys.readouterr().out)["results"][0]["codes"]


@pytest.mark.parametrize("name", ["remap old.safetensors", "audit .", "gate", "inspect small.safetensors"])
def test_a_code_that_there_is_not_is_refused_before_the_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--ignore", "VC9"]) == 2
    assert capsys.readouterr().err.startswith("viscy-compat: no finding code begins with 'VC9'")


def test_commands_that_find_nothing_have_no_such_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["zoo", "--ignore", "VC302"])
    assert "unrecognized arguments: --ignore" in capsys.readouterr().err


def test_findings_of_the_verdict_that_a_refused_remap_shows_are_chosen_too() -> None:
    verdict = CheckResult("a.ckpt", "incompatible", findings=(Finding("VC101", "a"), Finding("VC105", "b")))
    refused = SimpleNamespace(title="a.ckpt", exit_code=1, findings=(), check=verdict, to_dict=dict)
    (shown,) = in_selection(Report("remap", [cast("Result", refused)]), Selection(ignore=("VC101",))).results
    assert [finding.code for finding in shown.check.findings] == ["VC105"]  # type: ignore[attr-defined]
