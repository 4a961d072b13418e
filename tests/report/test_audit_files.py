"""The rows of an audit in other forms: nothing is lost, and what a terminal sees of the run itself."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.assembly import state, zipped
from viscy_compat.cli import main
from viscy_compat.findings import Aside
from viscy_compat.fleet.outcome import AuditOutcome, Policy
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.tally import Tally
from viscy_compat.report.audit_files import AUDIT_FORMATS, COLUMNS, RowsReadAnew, pieces, write_file
from viscy_compat.report.terminal import Style

ROWS = [
    AuditRow(
        "a, b.ckpt", "compatible", size=5, class_name="Unet2d", generation="v0.4", needs=("x", "y"), inode=1 << 63
    ),
    AuditRow("new\nline.pt", "unreadable", message='"cut"', codes={"VC403": 1, "VC420": 2}),
    AuditRow("caf\udce9.pt", "unknown", codes={"VC301": 1}),
    AuditRow("optimizer.pt", "unreadable", foreign="the state of an optimizer"),
]


def outcome(policy: Policy = Policy()) -> AuditOutcome:  # noqa: B008 (an immutable default)
    tally = Tally()
    for row in filter(policy.keeps, ROWS):
        tally.add(row)
    return AuditOutcome(lambda: iter(ROWS), tally, policy, 2, [Aside("out.ckpt", "a link out of the folder")])


def document(format: str) -> str:
    return "".join(pieces(outcome(), format, Style()))


def test_csv_has_every_row_and_every_column() -> None:
    rows = list(csv.DictReader(io.StringIO(document("csv"))))
    assert [list(row) for row in rows] == [list(COLUMNS)] * len(ROWS)
    assert [row["file"] for row in rows] == [row.file for row in ROWS]
    assert (rows[0]["needs"], rows[0]["class"], rows[0]["size"]) == ("x,y", "Unet2d", "5")
    assert (rows[1]["message"], rows[1]["codes"]) == ('"cut"', "VC403,VC420")


def test_json_has_the_rows_the_sum_and_what_was_passed_over() -> None:
    told = json.loads(document("json"))
    assert told["results"] == [json.loads(json.dumps(row.to_dict())) for row in ROWS]
    assert (told["schema"], told["tool"]["command"]) == (1, "audit")
    assert {(row["value"], row["files"]) for row in told["summary"] if row["group"] == "verdict"} == {
        ("compatible", 1),
        ("unreadable", 1),
        ("unknown", 1),
        ("foreign", 1),
    }
    assert told["aside"] == [{"file": "out.ckpt", "what": "a link out of the folder"}]


def test_parquet_is_read_by_what_notebooks_use(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_file(outcome(), "parquet", str(tmp_path / "a.parquet"))
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["verdict"] for row in rows] == [row.verdict for row in ROWS]
    assert (rows[0]["needs"], rows[0]["inode"], rows[1]["codes"]) == (["x", "y"], 1 << 63, ["VC403", "VC420"])
    assert [row["file"] for row in rows[1:3]] == ["new\nline.pt", r"caf\udce9.pt"]
    assert os.listdir(tmp_path) == ["a.parquet"]


@pytest.mark.parametrize("format", AUDIT_FORMATS)
def test_every_format_takes_names_of_strangers(tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    write_file(outcome(), format, str(tmp_path / "report"))
    assert (tmp_path / "report").stat().st_size > 100


def test_foreign_files_can_be_left_out() -> None:
    left = outcome(Policy(foreign="skip"))
    assert [row.file for row in left.rows()] == [row.file for row in ROWS[:3]]


def test_parquet_is_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path), "--format", "parquet"]) == 2
    assert "--output parquet:" in capsys.readouterr().err


def test_progress_is_a_line_every_hundred_files_and_one_line_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(230):
        (tmp_path / "many" / f"{number}.pt").write_bytes(zipped(state()))
    words = [sys.executable, "-m", "viscy_compat", "audit", str(tmp_path / "many"), "--fresh"]
    words += ["--ledger", str(tmp_path / "ledger.jsonl"), "--jobs", "1"]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if " of 230 files, " in line]
    assert [line.split()[0] for line in lines] == ["100", "200"]
    assert all("a second, " in line and line.endswith(" left") for line in lines)
    assert " of 230 files" not in subprocess.run([*words, "-q"], capture_output=True, text=True).stderr
    if sys.platform != "win32":
        assert "\r\x1b[K" in _on_a_terminal(words)


def _on_a_terminal(words: list[str]) -> str:
    """What a terminal is sent on stderr."""
    import pty

    ours, theirs = pty.openpty()
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:
        # the other end is closed: the run has ended
        pass
    finally:
        os.close(ours)
        run.wait()
    return b"".join(parts).decode()


@pytest.mark.parametrize("format", ["markdown", "sarif", "junit", "github"])
def test_no_format_holds_the_rows_of_an_audit(format: str) -> None:
    """A row is gone once the next one is read: those of a million files would be gigabytes."""
    alive: list[int] = []
    marks: list[weakref.ref[Mark]] = []

    def rows() -> Iterator[AuditRow]:
        for place in range(30):
            alive.append(sum(mark() is not None for mark in marks))
            # a row is a tuple, which cannot be watched; what it holds can
            mark = Mark(f"row {place}")
            marks.append(weakref.ref(mark))
            yield AuditRow(f"{place}.ckpt", "incompatible", codes={"VC201": 1}, mark=mark)

    tally = Tally()
    for row in rows():
        tally.add(row)
    alive.clear()
    marks.clear()
    document = "".join(pieces(AuditOutcome(rows, tally, Policy(), 1), format, Style()))
    assert "29.ckpt" in document or format == "github"
    # a few stand in what is just being made
    assert max(alive) < 10


class Mark(str):
    """A text that tells whether it is still held."""

    __slots__ = ("__weakref__",)


def test_rows_that_are_read_anew_are_those_of_the_outcome() -> None:
    found = RowsReadAnew(outcome(Policy(allow=("incompatible",))))
    assert [row.title for row in found] == [row.file for row in outcome().rows()]
    assert len(found) == len([*found])
    first, *more = found
    assert (found[0].title, found[0].exit_code) == (first.title, first.exit_code)
    assert [row.title for row in found[1:]] == [row.title for row in more]
