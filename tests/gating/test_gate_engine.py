"""The engine of the gate: what could not run, was left out or has expired is never a pass. Stages here are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.architectures import find
from viscy_compat.errors import CompatError, MissingExtra, SourceUnavailable
from viscy_compat.findings import Finding, Report
from viscy_compat.gating.engine import gate, waive
from viscy_compat.gating.stage import Setting, Stage, StageResult, Workshop
from viscy_compat.gating.stages import STAGES, chosen
from viscy_compat.report import FORMATS, render
from viscy_compat.report.terminal import Style
from viscy_compat.waivers import Waiver
from viscy_compat.workers.candidate import Candidate

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


def codes(report: Report) -> list[str]:
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
    assert chosen() == STAGES
    assert {*chosen(["static"]), *chosen(["numeric"])} == set(STAGES)


@pytest.mark.parametrize("format", FORMATS)
def test_the_gate_speaks_every_format(format: str) -> None:
    stages = [saying(BetaVae25D=OUTPUT), raising(SourceUnavailable("no source"))]
    document = render(gate(SETTING, stages, [WAIVER._replace(expired=True)]), format)
    assert "BetaVae25D" in document
    assert "VC501" in document
