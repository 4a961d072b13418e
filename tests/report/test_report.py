"""`emit` prints one format, writes the others, and gives the report's exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from support.reports import clean, hostile, mixed
from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.findings import Report
from viscy_compat.report import emit, render


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
            ["sh", "-c", limited, sys.executable], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
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
