"""`emit` prints one format, writes the others, and gives the report's exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
import weakref
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.layouts import hollow, layout_of
from support.reports import clean, hostile, mixed
from support.uncounted import uncounted
from viscy_compat.cli import main
from viscy_compat.diagnosis import check_paths
from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.exhibits import Exhibits
from viscy_compat.findings import Aside, Finding, Report
from viscy_compat.report import emit, emit_each, pieces, render
from viscy_compat.report.terminal import Style


def asked(format: str, *outputs: str) -> Namespace:
    return Namespace(format=format, output=list(outputs), color="never", verbose=False, quiet=False)


@pytest.mark.parametrize("report", [clean(), mixed()])
def test_the_exit_code_is_that_of_the_report(report: Report[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert emit(report, asked("json")) == report.exit_code
    assert json.loads(capsys.readouterr().out) == report.to_dict()


def test_outputs_are_written_beside_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, log = tmp_path / "a=b report.html", tmp_path / "log.sarif"
    emit(mixed(), asked("json", f"html:{page}", f"sarif:{log}"))
    assert page.read_text() == render(mixed(), "html") + "\n"
    assert json.loads(log.read_text())["version"] == "2.1.0"
    assert json.loads(capsys.readouterr().out)["schema"] == 1


ASIDE = [Aside("a/[].bin", "the state of an optimizer"), Aside("##[error]b", "[]")]


@pytest.mark.parametrize("results", [(), clean().results, mixed().results])
@pytest.mark.parametrize("more", [{}, {"aside": ASIDE}, {"headline": "[]", "interrupted": True}])
def test_json_that_comes_in_pieces_is_that_of_the_whole_to_the_letter(results: Any, more: dict[str, Any]) -> None:
    report = Report("check", results, **more)
    found = render(report, "json")
    assert found == json.dumps(report.to_dict(), indent=2).replace("##[", r"#\u0023[")
    assert json.loads(found) == report.to_dict()


class Counted(NamedTuple):
    """A result that notes when what it shows is asked for."""

    title: str
    asked: list[str]
    exit_code: int = 1
    findings: Sequence[Finding] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"class": self.title, "findings": []}

    def exhibits(self) -> Exhibits:
        self.asked.append(self.title)
        return Exhibits(sentence=f"it is {self.title}")


@pytest.mark.parametrize("format", ["html", "markdown", "sarif", "junit"])
def test_no_document_makes_a_section_before_its_turn_or_twice(format: str) -> None:
    asked: list[str] = []
    names = [f"number {place} of nine" for place in range(9)]
    document = pieces(Report("gate", [Counted(name, asked) for name in names]), format, Style())
    before = next(piece for piece in document if "it is number 0 of nine" in piece)
    assert asked == names[:1], before
    assert "it is number 8 of nine" in "".join(document)
    assert asked == names


def test_lines_of_json_are_printed_as_results_come_and_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    alive: list[int] = []
    seen: list[weakref.ref[Any]] = []

    def results() -> Iterator[Any]:
        for place in range(5):
            alive.append(sum(one() is not None for one in seen))
            result = Remembered(f"file {place}", place % 3)
            seen.append(weakref.ref(result))
            yield result
            del result

    assert emit_each("check", results(), asked("jsonl")) == 2
    assert [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()] == [
        f"file {k}" for k in range(5)
    ]
    # the one that was printed last is held until the next one comes
    assert alive == [0, 1, 1, 1, 1]


def test_results_are_kept_for_a_document_that_was_asked_for(tmp_path: Path) -> None:
    emit_each("check", (Remembered(f"file {k}", 0) for k in range(3)), asked("jsonl", f"json:{tmp_path / 'all.json'}"))
    assert len(json.loads((tmp_path / "all.json").read_text())["results"]) == 3


class Remembered:
    """A result whose end can be seen."""

    findings = ()

    def __init__(self, title: str, exit_code: int) -> None:
        self.title, self.exit_code = title, exit_code

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.title, "findings": []}


@pytest.mark.parametrize("output", ["report.json", "pdf:x", "json:", ":x"])
def test_an_output_that_cannot_be_meant_is_refused_before_anything_is_printed(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="FORMAT:PATH"):
        emit(clean(), asked("json", output))
    assert capsys.readouterr().out == ""


def test_an_output_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="there is no such folder; make it, or choose another --output"):
        emit(clean(), asked("json", f"html:{tmp_path / 'no' / 'page.html'}"))


@pytest.mark.parametrize("words", [("github",), ("json", "github:/dev/null")])
def test_github_reports_add_to_the_job_summary(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    emit(mixed(), asked(*words))
    assert summary.read_text() == f"# before\n{render(mixed(), 'markdown')}\n"


def test_other_reports_leave_the_job_summary_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    emit(hostile("x"), asked("json"))
    assert not (tmp_path / "summary.md").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits of files as Unix has them")
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What stood there before stays, where the disc does not take the new report."""
    (tmp_path / "before.html").write_text("before")
    for name in ("before.html", "new.html"):
        limited = f'ulimit -f 1; exec "$0" -m viscy_compat explain -q --output html:{name}'
        done = subprocess.run(
            ["sh", "-c", limited, sys.executable],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=uncounted(),
        )
        said = f"viscy-compat: {name}: File too large; choose another place for --output\n"
        assert (done.returncode, done.stderr.decode()) == (2, said)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"before.html": "before"}


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "target.json").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    emit(clean(), asked("json", f"json:{tmp_path / 'link.json'}", "json:/dev/null"))
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "target.json").read_text()) == clean().to_dict()
    assert not os.path.isfile("/dev/null")


def test_a_fifo_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputRefused, match="nobody reads this fifo"):
        emit(clean(), asked("json", f"json:{tmp_path / 'fifo'}"))
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    emit(clean(), asked("json", f"json:{tmp_path / 'fifo'}"))
    assert json.loads(os.read(reader, 1 << 16)) == clean().to_dict()
    os.close(reader)


def test_what_one_file_of_a_folder_says_is_not_left_out_of_another_ones_report(tmp_path: Path) -> None:
    layout = layout_of("Unet2d", num_filters=(4, 6), num_blocks=1)
    paths = [hollow(tmp_path / f"{name}.safetensors", layout) for name in ("first", "second")]
    alone, both = ([*check_paths(map(str, asked_for))] for asked_for in (paths[1:], paths))
    texts = [render(Report("check", results), "text", Style(verbose=True)) for results in (alone, both)]
    more = [text.split("by the names in the JSON:") for text in texts]
    assert more[0][-1] == more[1][-1]
    assert len(more[1]) == 3


@pytest.mark.uncounted
@pytest.mark.parametrize(("format", "most"), [("jsonl", 6_000), ("text", 6_000), ("json", 6_000), ("html", 15_000)])
def test_a_folder_costs_no_layouts_in_memory(format: str, most: int, tmp_path: Path, capfd: Any) -> None:
    """In bytes for each further file; a layout of this class has 60,000."""
    folders = {count: tmp_path / str(count) for count in (4, 24)}
    layout = layout_of("ResNet3dEncoder", backbone="resnet18")
    whole = hollow(tmp_path / "whole.safetensors", {f"net.{name}": spec for name, spec in layout.items()})
    peaks = {}
    for count, folder in folders.items():
        folder.mkdir()
        for place in range(count):
            os.link(whole, folder / f"{place}.safetensors")
        main(["check", str(folder), "--format", format])
        tracemalloc.start()
        main(["check", str(folder), "--format", format])
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (peaks[24] - peaks[4]) / 20 < most
