"""Every report becomes a document in every format, and nothing that a file names becomes markup, a link or a command."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from support.reports import ALL, HOSTILE, Fake, Shown, clean, empty, hostile, mixed
from viscy_compat.errors import UsageError
from viscy_compat.exhibits import Exhibits, Fact, Map
from viscy_compat.findings import CATALOGUE, Finding, Report
from viscy_compat.report import FORMATS, render
from viscy_compat.report.drawing import drawing, size_of
from viscy_compat.report.github import SHOWN, SUMMARY_BYTES, summary
from viscy_compat.report.page import page_of
from viscy_compat.report.script import SCRIPT
from viscy_compat.report.terminal import Style

if TYPE_CHECKING:
    from markdown_it.token import Token

# The text format has a file for each command, and belongs to the commands.
DOCUMENTS = tuple(format for format in FORMATS if format not in ("text", "jsonl"))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("format", DOCUMENTS)
def test_every_report_renders_in_every_format(format: str, name: str) -> None:
    assert render(ALL[name], format).strip()


@pytest.mark.parametrize("format", ["markdown", "github", "html", "sarif"])
def test_the_same_report_gives_the_same_document(format: str) -> None:
    assert render(mixed(), format) == render(mixed(), format)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="no report format 'pdf'"):
        render(clean(), "pdf")


@pytest.mark.parametrize("format", sorted({*DOCUMENTS} - {"json"}))
def test_a_failing_result_without_a_finding_is_still_said(format: str) -> None:
    document = render(Report("gate", [Fake("BetaVae25D v0.4", 1)]), format)
    assert "BetaVae25D v0.4: findings" in document


def test_a_result_whose_findings_are_only_notes_still_says_that_it_did_not_hold() -> None:
    report = Report("gate", [Fake("BetaVae25D v0.4", 2, [Finding("VC103", "prefix")])])
    (section,) = page_of(report).sections
    assert [message.severity for message in section.messages] == ["error", "note"]


# --- markdown ----------------------------------------------------------------------------------------------------


def tokens(document: str) -> list[Token]:
    """Every token of a GitHub-flavoured document, inline ones included."""
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    return [inner for token in parsed for inner in (token, *(token.children or ()))]


OURS = re.compile(r"<details>|</details>|<summary>.*</summary>|<br>")


def strange_markup(document: str) -> list[str]:
    """Markup that we did not write: links, images, emphasis, code blocks, and HTML beyond our own folding."""
    found = tokens(document)
    html = [OURS.sub("", token.content).strip() for token in found if token.type in ("html_block", "html_inline")]
    kinds = ("link_open", "image", "em_open", "s_open", "fence", "code_block", "bullet_list_open_nested", "hr")
    return [*filter(None, html), *(token.type for token in found if token.type in kinds)]


@pytest.mark.parametrize("words", HOSTILE)
def test_markdown_shows_hostile_words_as_words(words: str) -> None:
    document = render(hostile(words), "markdown", Style(verbose=True))
    assert strange_markup(document) == []
    assert [token for token in tokens(document) if token.type == "heading_open" and token.tag not in ("h1", "h2")] == []


@given(st.text(alphabet=st.sampled_from("ab`|\\*_[]()<>#~$&!@:/.- \n1"), min_size=1, max_size=12))
def test_markdown_never_becomes_other_markup(words: str) -> None:
    # a value of one dash says that there is none, and is left out with its table
    assume(words != "-")
    document = render(hostile(words), "markdown", Style(verbose=True))
    assert strange_markup(document) == []
    tables = [token for token in tokens(document) if token.type == "td_open"]
    assert len(tables) == len(
        [token for token in tokens(render(hostile("x"), "markdown", Style(verbose=True))) if token.type == "td_open"]
    )


def test_markdown_links_nobody_and_mentions_nobody() -> None:
    document = render(hostile("@someone #1 https://example.com www.example.com"), "markdown")
    outside = re.sub(r"`[^`]*`", "", document)
    assert re.findall(r"://|www\.", outside) == []
    assert re.findall(r"@\w|#\d", unescape(outside)) == []


def test_markdown_has_the_verdict_in_the_first_line_and_a_row_for_each_result() -> None:
    lines = render(mixed(), "markdown").splitlines()
    assert lines[0] == "# viscy-compat gate: undecided"
    listed = render(Report("gate", mixed().results), "markdown").splitlines()
    assert len([line for line in listed if line.startswith("| `")]) == len(mixed().results)


def test_markdown_names_the_first_diverging_module() -> None:
    assert "First diverging module: encoder.0" in render(mixed(), "markdown")


# --- github ------------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|warning|notice) [a-z]+=[^:,\r\n]*(,[a-z]+=[^:,\r\n]*)*::[^\r\n]*")


@pytest.mark.parametrize("name", ALL)
def test_github_lines_are_commands_of_ours_and_one_verdict(name: str) -> None:
    *commands, verdict = render(ALL[name], "github").split("\n")
    assert [line for line in commands if not COMMAND.fullmatch(line)] == []
    assert verdict.startswith("viscy-compat ")
    assert "::" not in verdict
    assert "##[" not in verdict


def test_github_annotates_each_finding_on_its_file() -> None:
    document = render(mixed(), "github")
    assert "::error file=runs/epoch=48 step=1.ckpt,title=VC201 runs/epoch=48 step=1.ckpt::shape" in document
    assert "::warning file=runs/epoch=48 step=1.ckpt,title=VC302" in document
    assert "::notice title=VC103 ResNet3dEncoder v0.4::prefix 'model.'" in document


def test_github_says_how_many_annotations_it_left_out() -> None:
    report = Report("check", [Fake(f"{i}.ckpt", 1, [Finding("VC201", "shape")]) for i in range(25)])
    lines = render(report, "github").splitlines()
    assert len(lines) == SHOWN + 1
    assert lines[-2] == "::error title=viscy-compat::16 more of this kind; the job summary has all"


def test_a_job_summary_is_cut_before_github_would_refuse_it() -> None:
    finding = Finding("VC101", "missing \u20ac" * 100)
    report = Report("check", [Fake(f"{i}.ckpt", 1, [finding]) for i in range(2000)])
    cut = summary(report)
    assert SUMMARY_BYTES - 5_000 < len(cut.encode()) < SUMMARY_BYTES
    assert cut.endswith("The rest was left out: a job summary holds 1 MiB.")
    assert summary(clean()) == render(clean(), "markdown")


# --- html --------------------------------------------------------------------------------------------------------

VOID = {"meta", "br"}
LOADS = {"link", "img", "iframe", "object", "embed", "video", "audio", "source", "base", "form"}


class Page(HTMLParser):
    """Reads a page, and complains about what is not closed."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", ALL)
def test_the_page_is_whole_and_loads_nothing(name: str) -> None:
    document = render(ALL[name], "html")
    page = Page(document)
    assert page.open == []
    assert {tag for tag, _ in page.seen} & LOADS == set()
    assert "url(" not in document
    assert "@import" not in document
    attributes = {attribute for _, attributes in page.seen for attribute in attributes}
    assert {name for name in attributes if name.startswith("on") or name in ("src", "style")} == set()
    links = [str(attributes["href"]) for tag, attributes in page.seen if tag == "a"]
    anchors = {f"#{attributes['id']}" for _, attributes in page.seen if "id" in attributes}
    assert [link for link in links if link not in anchors] == []


@pytest.mark.parametrize("name", ALL)
def test_the_only_script_of_a_page_is_ours_and_its_policy_names_it(name: str) -> None:
    document = render(ALL[name], "html")
    assert document.count("<script") == document.count(f"<script>{SCRIPT}</script>") == 1
    digest = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in document
    for word in ("http", "fetch", "import", "eval", "innerHTML", "outerHTML", "document.write"):
        assert word not in SCRIPT


@given(st.text(min_size=1, max_size=20))
def test_words_bring_no_tags_of_their_own(words: str) -> None:
    """Only what is folded may depend on them: a value that a sentence says already is not said again."""
    ours = {"details", "summary", "dl", "dt", "dd", "span"}
    plain, strange = (Page(render(hostile(text), "html")) for text in ("x", words))
    assert {tag for tag, _ in strange.seen} - ours == {tag for tag, _ in plain.seen} - ours
    assert [tag for tag, _ in strange.seen].count("script") == 1
    attributes = {name for _, attributes in strange.seen for name in attributes}
    assert attributes == {name for _, attributes in plain.seen for name in attributes}


def test_the_page_says_the_verdict_first_and_shows_marks_and_maps() -> None:
    page = Page(render(mixed(), "html"))
    shown = page.text[page.text.index("viscy-compat gate: ?") :]
    sentence = "2 of 5 with findings, 1 of 5 could not be decided."
    assert shown.startswith(f"viscy-compat gate: ? undecided\n{sentence}\nsource: wheel 0.4.0")
    assert "First diverging module: encoder.0" in shown
    assert [tag for tag, _ in page.seen].count("rect") == 4 + 3 + 5
    assert "stages.39.gamma" in shown


# --- sarif -------------------------------------------------------------------------------------------------------


def test_sarif_results_point_at_the_rules_that_they_name() -> None:
    run = json.loads(render(mixed(), "sarif"))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CATALOGUE)
    named = [result for result in run["results"] if "ruleId" in result]
    assert [rules[result["ruleIndex"]]["id"] for result in named] == [result["ruleId"] for result in named]
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "error", "error", "note"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "runs/epoch%3D48%20step%3D1.ckpt"


@pytest.mark.parametrize(("report", "well"), [(clean(), True), (mixed(), False), (empty(), False)])
def test_sarif_calls_a_run_that_could_not_decide_no_success(report: Report[Any], well: bool) -> None:
    invocation = json.loads(render(report, "sarif"))["runs"][0]["invocations"][0]
    assert invocation["executionSuccessful"] is well
    assert invocation["exitCode"] == report.exit_code


def test_sarif_fingerprints_tell_findings_apart() -> None:
    results = json.loads(render(mixed(), "sarif"))["runs"][0]["results"]
    prints = [result["partialFingerprints"]["finding/v1"] for result in results]
    assert len(set(prints)) == len(prints)


# --- junit -------------------------------------------------------------------------------------------------------


def test_junit_counts_what_it_holds() -> None:
    suite = ElementTree.fromstring(render(mixed(), "junit"))[0]
    cases = suite.findall("testcase")
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["5", "2", "1"]
    assert [[child.tag for child in case] for case in cases] == [["failure"], ["failure"], ["error"], [], []]
    assert cases[0][0].get("type") == "VC201"
    assert "stages.39.gamma" in str(cases[0][0].text)


# --- maps --------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from(["exact", "lossy", "odd"]), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_drawn_map_covers_every_cell_once(outcomes: list[list[str]]) -> None:
    rows = tuple(map(str, range(len(outcomes))))
    drawn = Map("m", Fact("x", ""), Fact("y", ""), ("a", "b", "c"), rows, tuple(map(tuple, outcomes)))
    rectangles = [attributes for tag, attributes in Page(drawing(drawn)).seen if tag == "rect"]
    cells = rectangles[: len(rectangles) - len({name for row in outcomes for name in row})]
    size = size_of(drawn)
    covered = sum((int(str(cell["width"])) + 1) // size for cell in cells)
    assert covered == 3 * len(outcomes)
    assert len({(cell["x"], cell["y"]) for cell in cells}) == len(cells)


def test_a_large_map_is_counted_in_markdown_and_drawn_in_html() -> None:
    wide = Map("wide", Fact("x", ""), Fact("y", ""), tuple(map(str, range(80))), ("1",), (("exact",) * 80,))
    report = Report("explore", [Shown("wide", Exhibits(maps=(wide,)))])
    assert "| exact | 80 |" in render(report, "markdown", Style(verbose=True))
    assert "x 0 to 79, y 1: exact" in render(report, "html")
