"""The engine of the gate: what could not run, was left out or has expired is never a pass. Stages here are made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.architectures import find
from viscy_compat.errors import CompatError, Interrupted, MissingExtra, SourceUnavailable
from viscy_compat.findings import Finding, Report
from viscy_compat.gating.engine import WAIVERS, could_not_run, gate, results_of, waive
from viscy_compat.gating.stage import Setting, Stage, StageKind, StageResult, Workshop
from viscy_compat.gating.stages import STAGES, stages_of
from viscy_compat.references.records import Reference
from viscy_compat.report import FORMATS, render
from viscy_compat.report.terminal import Style
from viscy_compat.waivers import Waiver
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.environment import CODE as FAULT

NAMES = ("ContrastiveEncoder", "BetaVae25D")
SETTING = Setting(tuple(find(name) for name in NAMES), Candidate())
OUTPUT = Finding("VC501", "the outputs differ", ("encoder",))
WAIVER = Waiver("row", "BetaVae25D", "VC501", "because", date(2030, 1, 1))


def stage(name: str, run: Callable[[Workshop], Iterator[StageResult]]) -> Stage:
    return Stage(name, "static", "made up", run)


def saying(**findings: Finding) -> Stage:
    """A stage that says one thing of each class."""

    def run(workshop: Workshop) -> Iterator[StageResult]:
        for name in NAMES:
            yield StageResult("made-up", name, (findings[name],) if name in findings else ())

    return stage("made-up", run)


def raising(error: CompatError, *, after: int = 0) -> Stage:
    """A stage that ends early."""

    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield from (StageResult("made-up", name) for name in NAMES[:after])
        raise error

    return stage("made-up", run)


def codes(report: Report[Any]) -> list[str]:
    return [finding.code for finding in report.findings]


def test_where_everything_holds_the_gate_is_open() -> None:
    report = gate(SETTING, [saying()])
    assert report.exit_code == 0
    assert report.exhibits is not None
    assert report.exhibits.tables[0].rows == (("ContrastiveEncoder", "holds"), ("BetaVae25D", "holds"))


def test_an_error_blocks_and_is_named() -> None:
    report = gate(SETTING, [saying(BetaVae25D=OUTPUT)])
    assert report.exit_code == 1
    assert [result.title for result in report.results if result.exit_code] == ["made-up: BetaVae25D"]


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("error", [SourceUnavailable("no source", code="VC601"), MissingExtra("no torch")])
def test_a_stage_that_could_not_run_is_never_a_pass(error: CompatError, after: int) -> None:
    report = gate(SETTING, [raising(error, after=after), saying()])
    assert report.exit_code == 2
    # the cause is told once, with the classes that were not reached, each of which is undecided
    (failed,) = [result for result in report.results if result.exit_code == 2]
    assert failed.to_dict()["not_reached"] == list(NAMES[after:])
    assert report.exhibits is not None
    assert {row[1] for row in report.exhibits.tables[0].rows} == {"undecided"}
    assert render(report, "text").count(error.message) == 1


def test_a_cause_that_ends_several_stages_is_told_once() -> None:
    again = Stage("again", "static", "made up", raising(MissingExtra("no torch")).run)
    report = gate(SETTING, [raising(MissingExtra("no torch")), again, saying()])
    assert [result.title for result in report.results if result.exit_code == 2] == ["made-up", "again"]
    assert render(report, "text").count("no torch") == 1
    assert "for the reason that made-up names" in render(report, "text")


@pytest.mark.parametrize(("reads", "builds", "code"), [(True, True, 0), (True, False, 2), (False, True, 2)])
def test_what_must_build_models_is_left_out_only_where_reading_was_asked_for(
    reads: bool, builds: bool, code: int
) -> None:
    stage = Stage(
        "layouts", "static", "made up", raising(MissingExtra("no torch", fix="install it")).run, builds=builds
    )
    report = gate(Setting(SETTING.classes, Candidate(), reads=reads), [stage, saying()])
    assert report.exit_code == code
    assert ("layouts left out (no torch; install it)" in report.headline) is (code == 0)
    assert report.exhibits is not None
    assert report.exhibits.tables[0].rows[0][1] == ("left out" if code == 0 else "undecided")


def test_old_code_that_is_not_there_is_left_out_only_where_the_records_were_accepted() -> None:
    needs = raising(SourceUnavailable("no source", code="VC601"))
    needs = Stage(needs.name, needs.kind, needs.what, needs.run, runs_old_code=True)
    for options, code in (({}, 2), ({"allow_recorded": True}, 0), ({"recorded": True}, 0)):
        report = gate(Setting(SETTING.classes, Candidate(), options), [needs, saying()])
        assert report.exit_code == code
        assert ("made-up left out (no source)" in report.headline) is (code == 0)
        assert ("left out" in render(report, "text").split("made-up")[-1]) is (code == 0)


def test_a_stage_that_needs_no_old_code_is_never_left_out() -> None:
    setting = Setting(SETTING.classes, Candidate(), {"allow_recorded": True})
    assert gate(setting, [raising(SourceUnavailable("no source", code="VC601"))]).exit_code == 2


def test_a_class_that_a_stage_says_nothing_about_is_undecided() -> None:
    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield StageResult("made-up", NAMES[0])

    report = gate(SETTING, [stage("made-up", run)])
    assert report.exit_code == 2
    assert codes(report) == ["VC620"]


def test_a_defect_of_the_tool_is_not_swallowed() -> None:
    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield StageResult("made-up", NAMES[0])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gate(SETTING, [stage("made-up", run)])


# --- waivers -----------------------------------------------------------------------------------------------------


def test_a_waiver_opens_the_gate_and_is_printed() -> None:
    report = gate(SETTING, [saying(BetaVae25D=OUTPUT)], [WAIVER])
    assert report.exit_code == 0
    for format in ("text", "markdown", "html", "json"):
        for quiet in (False, True):
            document = render(report, format, Style(quiet=quiet))
            assert "because" in document
            assert "2030-01-01" in document.replace("\\", "")
            assert OUTPUT.message in document
    assert report.exhibits is not None
    assert report.exhibits.tables[0].rows == (("ContrastiveEncoder", "holds"), ("BetaVae25D", "waived"))
    assert "gate: open. 2 of 3 hold, 1 waived." in render(report, "text")


def test_an_expired_waiver_blocks_and_is_named() -> None:
    report = gate(SETTING, [saying(BetaVae25D=OUTPUT)], [WAIVER._replace(expired=True)])
    assert report.exit_code == 1
    assert codes(report) == ["VC501", "VC621"]
    assert "row (BetaVae25D VC501, until 2030-01-01): because" in report.findings[1].message


def test_an_expired_waiver_blocks_even_where_nothing_needs_it() -> None:
    assert codes(gate(SETTING, [saying()], [WAIVER._replace(expired=True)])) == ["VC621"]


def test_an_unused_waiver_blocks_where_every_stage_ran() -> None:
    assert codes(gate(SETTING, [saying()], [WAIVER], whole=True)) == ["VC622"]
    assert gate(SETTING, [saying()], [WAIVER]).exit_code == 0


@pytest.mark.parametrize(
    "other", [WAIVER._replace(about="VC502"), WAIVER._replace(class_name="ContrastiveEncoder"), WAIVER]
)
def test_a_waiver_covers_its_code_and_its_class_only(other: Waiver) -> None:
    report = gate(SETTING, [saying(BetaVae25D=OUTPUT)], [other])
    assert report.exit_code == int(other is not WAIVER)


def test_no_waiver_covers_a_stage_that_could_not_run() -> None:
    everything = [Waiver(code, "*", code, "because", date(2030, 1, 1)) for code in ("VC601", "VC620")]
    report = gate(SETTING, [raising(SourceUnavailable("no source", code="VC601"))], everything)
    assert report.exit_code == 2


@given(
    st.lists(st.sampled_from(["VC501", "VC502", "VC103", "VC111"]), max_size=4),
    st.lists(st.tuples(st.sampled_from(["VC501", "VC502", "VC111"]), st.sampled_from([*NAMES, "*"]), st.booleans())),
    st.booleans(),
)
def test_waiving_loses_no_finding(found: list[str], rows: list[tuple[str, str, bool]], undecided: bool) -> None:
    waivers = [Waiver(str(i), name, code, "why", "1", old) for i, (code, name, old) in enumerate(rows)]
    before = StageResult("made-up", NAMES[0], tuple(Finding(code, code) for code in found), undecided)
    after = waive(before, waivers)
    kept = [finding.code for finding in after.findings] + [row.finding.code for row in after.waived]
    assert sorted(kept) == sorted(found)
    assert all(not row.waiver.expired and row.waiver.covers(NAMES[0], row.finding.code) for row in after.waived)
    assert after.exit_code == 2 if undecided else after.exit_code in (0, before.exit_code)


# --- stages ------------------------------------------------------------------------------------------------------


def test_stages_are_named_once_and_come_static_first() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    kinds = [stage.kind for stage in STAGES]
    assert kinds == sorted(kinds, key=["static", "numeric"].index)
    assert stages_of() == STAGES
    assert {*stages_of(["static"]), *stages_of(["numeric"])} == set(STAGES)


@pytest.mark.parametrize("format", FORMATS)
def test_the_gate_speaks_every_format(format: str) -> None:
    stages = [saying(BetaVae25D=OUTPUT), raising(SourceUnavailable("no source"))]
    document = render(gate(SETTING, stages, [WAIVER._replace(expired=True)]), format)
    assert "BetaVae25D" in document
    assert "VC501" in document


# --- what a report of the gate holds, word for word ---------------------------------------------------------------


def stopping(*, after: int = 1) -> Stage:
    """A stage that somebody interrupts."""

    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield from (StageResult("made-up", name, (OUTPUT,)) for name in NAMES[:after])
        raise KeyboardInterrupt

    return stage("made-up", run)


def test_an_interrupted_gate_says_what_is_known_and_what_it_did_not_come_to() -> None:
    first = Stage("first", "static", "made up", lambda workshop: iter([StageResult("first", name) for name in NAMES]))
    with pytest.raises(Interrupted) as caught:
        gate(SETTING, [first, stopping(), Stage("explore", "numeric", "made up", saying().run)], [WAIVER])
    report = caught.value.report
    assert (report.command, report.interrupted, report.exit_code) == ("gate", True, 2)
    assert [(result.stage, result.subject, result.verdict) for result in report.results] == [
        ("first", "ContrastiveEncoder", "holds"),
        ("first", "BetaVae25D", "holds"),
        ("made-up", "ContrastiveEncoder", "findings"),
        ("made-up", "BetaVae25D", "undecided"),
        ("explore", "ContrastiveEncoder", "undecided"),
        ("explore", "BetaVae25D", "undecided"),
    ]
    assert [result.findings[0].message for result in report.results[3:]] == [
        "BetaVae25D: interrupted before",
        "ContrastiveEncoder: interrupted before",
        "BetaVae25D: interrupted before",
    ]
    assert report.headline.endswith(f"profile {SETTING.profile}")
    assert report.exhibits is not None
    (table,) = report.exhibits.tables
    assert table.rows == (
        ("ContrastiveEncoder", "holds", "findings", "undecided"),
        ("BetaVae25D", "holds", "undecided", "undecided"),
    )


def test_what_was_found_before_an_interrupt_is_waived_as_ever() -> None:
    with pytest.raises(Interrupted) as caught:
        gate(SETTING, [stopping(after=2)], [WAIVER])
    known = caught.value.report.results
    assert [len(result.waived) for result in known] == [0, 1]
    assert known[1].waived[0].waiver == WAIVER


def test_the_results_of_a_stage_survive_its_interrupt() -> None:
    with pytest.raises(Interrupted) as caught:
        results_of(stopping(), Workshop(SETTING))
    report = caught.value.report
    assert (report.command, report.interrupted) == ("gate", True)
    assert [result.subject for result in report.results] == ["ContrastiveEncoder"]


def test_a_stage_gets_the_workshop_and_is_announced() -> None:
    lines: list[str] = []
    setting = Setting(SETTING.classes, Candidate(), progress=lines.append)
    seen = []

    def run(workshop: Workshop) -> Iterator[StageResult]:
        seen.append(workshop.setting)
        yield from (StageResult("made-up", name) for name in NAMES)

    gate(setting, [stage("made-up", run)])
    assert seen == [setting]
    assert lines == ["made-up: made up"]


def test_a_failure_keeps_the_code_the_place_and_the_way_out_of_its_error() -> None:
    known = SourceUnavailable("no source", where="repo", fix="clone it", code="VC601")
    (finding,) = could_not_run("verify", known).findings
    assert finding == Finding("VC601", "repo: no source", fix="clone it")
    (finding,) = could_not_run("verify", CompatError("it broke")).findings
    assert finding == Finding("VC620", "it broke")
    result = could_not_run("verify", known)
    assert (result.stage, result.subject, result.undecided) == ("verify", "", True)


def test_any_error_of_ours_ends_a_stage_and_not_the_gate() -> None:
    report = gate(SETTING, [raising(CompatError("it broke", fix="mend it")), saying()])
    assert codes(report) == ["VC620"]
    assert report.findings[0].message == "it broke"
    assert report.results[0].stage == "made-up"


def test_a_silent_class_is_named_with_its_stage() -> None:
    (first, second) = gate(SETTING, [stage("quiet", lambda workshop: iter(()))]).results
    assert (first.stage, first.subject) == ("quiet", "ContrastiveEncoder")
    assert second.findings == (Finding("VC620", "BetaVae25D: the stage said nothing about it"),)


def test_only_results_about_a_whole_stage_refer_to_an_earlier_one() -> None:
    """What is undecided about one class is said of each class; further findings stay where they are."""
    more = Finding("VC610", "and this")
    whole = StageResult("later", "", (Finding("VC620", "no torch", fix="install it"), more), undecided=True)
    one = StageResult("later", NAMES[0], (Finding("VC620", "no torch", fix="install it"),), undecided=True)
    later = Stage("later", "static", "made up", lambda workshop: iter([whole, one, StageResult("later", NAMES[1])]))
    report = gate(SETTING, [raising(MissingExtra("no torch", fix="install it")), later])
    assert report.results[1].findings == (Finding("VC620", "for the reason that made-up names"), more)
    assert report.results[2].findings == one.findings


def test_a_row_is_about_a_law_of_explore_or_about_the_code_and_nothing_else() -> None:
    law = Finding("VC510", "a law is broken", ("layout",))
    row = Waiver("row", NAMES[0], "layout", "because", date(2030, 1, 1))
    assert waive(StageResult("explore", NAMES[0], (law,)), [row]).waived[0].finding == law
    other = Finding("VC501", "the outputs differ", ("layout",))
    assert not waive(StageResult("verify", NAMES[0], (other,)), [row]).waived
    assert not waive(StageResult("explore", NAMES[0], (law,), undecided=True), [row]).waived


def test_the_rows_stand_in_the_report_with_what_they_accepted() -> None:
    report = gate(SETTING, [saying(BetaVae25D=OUTPUT)], [WAIVER], whole=True)
    result = report.results[-1]
    assert (result.stage, result.subject) == (WAIVERS, "")
    assert result.to_dict()["rows"] == [str(WAIVER)]
    assert report.exhibits is not None
    classes, _, waived = report.exhibits.tables
    assert (classes.title, classes.columns) == ("classes", ("class", "made-up"))
    assert classes.rows[1] == ("BetaVae25D", "waived")
    assert (waived.title, waived.columns) == ("waived", ("result", "waiver", "code", "what"))
    assert waived.rows == (("made-up: BetaVae25D", "row", "VC501", "the outputs differ"),)


@pytest.mark.parametrize(
    ("results", "marks"),
    [
        ([("", ()), (NAMES[0], (OUTPUT,)), (NAMES[1], ())], ("findings", "holds")),
        ([(NAMES[0], ()), (NAMES[0], (OUTPUT,)), (NAMES[0], ())], ("findings", "-")),
        ([(NAMES[1], ())], ("-", "holds")),
    ],
)
def test_a_cell_is_the_worst_that_a_stage_says_of_a_class(
    results: list[tuple[str, tuple[Finding, ...]]], marks: tuple[str, str]
) -> None:
    found = [StageResult("made-up", subject, findings) for subject, findings in results]
    shown = gate(SETTING, [stage("made-up", lambda workshop: iter(found))]).exhibits
    assert shown is not None
    cells = [row[1] for row in shown.tables[0].rows]
    assert cells == ["undecided" if mark == "-" else mark for mark in marks]


def test_a_class_of_somebody_else_is_marked_by_the_stages_that_look_at_such_classes() -> None:
    reference = Reference("lab.Net", "now", recipe={}, sources={}, signatures={}, cases=())
    setting = Setting(SETTING.classes, Candidate(), references=(reference,))
    about_all = stage("made-up", lambda workshop: iter([StageResult("made-up", name) for name in NAMES]))
    theirs = Stage(
        "strangers", "numeric", "made up", lambda w: iter([StageResult("strangers", "lab.Net")]), strangers=True
    )
    shown = gate(setting, [about_all, theirs]).exhibits
    assert shown is not None
    assert shown.tables[0].rows == (
        ("ContrastiveEncoder", "holds", "-"),
        ("BetaVae25D", "holds", "-"),
        ("lab.Net", "-", "holds"),
    )


@pytest.mark.parametrize("name", ["explore", "layouts"])
def test_the_headline_names_the_source_and_the_profile_where_explore_runs(name: str) -> None:
    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield from (StageResult(name, subject) for subject in NAMES)

    recorded = f"{SETTING.candidate.title} against recorded layouts"
    kinds: tuple[tuple[StageKind, str], ...] = (("static", ", no numbers compared"), ("numeric", ""))
    for kind, numbers in kinds:
        headline = gate(SETTING, [Stage(name, kind, "made up", run)]).headline
        assert headline == f"{recorded}{numbers}" + (f"; profile {SETTING.profile}" if name == "explore" else "")


def test_a_source_that_was_compared_with_is_the_headline() -> None:
    rows = [StageResult("verify", NAMES[0], headline="against wheel 0.4.0"), StageResult("verify", NAMES[1])]
    assert gate(SETTING, [stage("verify", lambda workshop: iter(rows))]).headline == "against wheel 0.4.0"


@pytest.mark.parametrize(("reads", "code", "instead"), [(True, "", True), (True, FAULT, False), (False, "", False)])
def test_a_lack_of_torch_is_no_reason_to_stop_where_text_may_be_read_and_the_candidate_has_what_it_needs(
    reads: bool, code: str, instead: bool
) -> None:
    setting = dataclasses.replace(SETTING, reads=reads)
    assert setting.reads_instead(MissingExtra("it lacks torch", code=code)) is instead
