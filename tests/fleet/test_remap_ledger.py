"""`remap --from-ledger`: all that is remappable, each whole or absent, and a second run writes nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.assembly import state, zipped
from support.layouts import hollow
from support.servers import deaf_port, give, serving
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.fleet.row import AuditRow, line_of

PATIENT = """
import sys
from viscy_compat.cli import main
from viscy_compat.fleet import in_order
if __name__ == "__main__":
    in_order.PATIENCE = 300
    sys.exit(main())
"""
"""The command on a machine however slow: no process is killed before it has ended by itself."""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The ledger of a folder with three remappable files, a compatible one, an unknown one and a cut one."""
    encoder = find("ContrastiveEncoder")
    folder = tmp_path / "models"
    old, new = encoder.generations[0], encoder.generations[-1]
    config = complete(encoder, (old.cases or encoder.cases)[0].config)
    for name in ("a/old.safetensors", "b/epoch=1.ckpt", "b/epoch=1.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        hollow(folder / name, old.layout(config))
    hollow(folder / "new.safetensors", new.layout(complete(encoder, (new.cases or encoder.cases)[0].config)))
    (folder / "unknown.pt").write_bytes(zipped(state()))
    (folder / "cut.pt").write_bytes(zipped(state())[:-30])
    place = tmp_path / "ledger.jsonl"
    assert main(["audit", str(folder), "--ledger", str(place), "-q"]) == 2
    return place


def remap(
    ledger: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, list[dict[str, object]]]:
    capsys.readouterr()
    code = main(["remap", "--from-ledger", str(ledger), "-o", f"{out}/", "--format", "jsonl", *words])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines() if line]


def test_all_that_is_remappable_is_written_and_loads(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = remap(ledger, tmp_path / "out", capsys)
    assert code == 0, rows
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.safetensors"))
    assert written == ["a/old.safetensors", "b/epoch=1.pt.safetensors", "b/epoch=1.safetensors"]
    for name in written:
        assert main(["check", str(tmp_path / "out" / name), "-q"]) == 0


def test_a_second_run_writes_nothing_twice(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, first = remap(ledger, tmp_path / "out", capsys)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    (tmp_path / "out" / "a" / "old.safetensors").unlink()
    code, second = remap(ledger, tmp_path / "out", capsys)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    assert code == 0
    assert [row["file"] for row in second] == [row["file"] for row in first]
    assert {path for path in stamps if stamps[path] != after[path]} == {tmp_path / "out" / "a" / "old.safetensors"}


def test_a_file_in_the_way_is_never_replaced(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "out" / "a" / "old.safetensors"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    code, rows = remap(ledger, tmp_path / "out", capsys)
    assert (code, taken.read_text()) == (1, "mine")
    assert sorted(str(row["fortune"]) for row in rows) == ["refused", "written", "written"]
    taken.rename(tmp_path / "mine")  # what was in the way is no fact about the source: the next run tries again
    assert remap(ledger, tmp_path / "out", capsys)[0] == 0
    (tmp_path / "mine").rename(taken)
    assert remap(ledger, tmp_path / "out", capsys, "--force")[0] == 0
    assert taken.read_bytes()[:4] != b"mine"


def test_a_run_that_is_refused_leaves_what_an_earlier_one_wrote_known(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = remap(ledger, tmp_path / "out", capsys)
    code, others = remap(ledger, tmp_path / "out", capsys, "--set", "stem_stride=5,4,4")
    assert (code, {row["message"] for row in others}) == (1, {"the file exists"})
    assert remap(ledger, tmp_path / "out", capsys) == (0, first)
    assert main(["remap", "--from-ledger", str(ledger), "-o", str(tmp_path / "out"), "--set", "stem_stride=5,4,4"]) == 1
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith("old.safetensors  the file exists; choose another name, or --force to replace it")


def test_a_file_that_changed_since_the_audit_is_not_remapped(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(tmp_path / "models" / "b" / "epoch=1.ckpt", ns=(1, 1))
    code, rows = remap(ledger, tmp_path / "out", capsys)
    assert code == 2
    assert [row["fortune"] for row in rows] == ["written", "changed", "written"]
    assert not (tmp_path / "out" / "b" / "epoch=1.safetensors").exists()


def test_an_audit_ends_with_the_command_that_remaps_where_something_is_remappable(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "my ledger.jsonl"
    main(["audit", str(tmp_path / "models"), "--ledger", str(place)])
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"next: viscy-compat remap --from-ledger '{place}' -o FOLDER/"
    main(["audit", str(tmp_path / "models" / "new.safetensors"), "--ledger", str(place)])
    assert "next:" not in capsys.readouterr().err


def test_an_address_that_changed_since_the_audit_is_not_remapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    content = zipped(state())

    def honest(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        give(handler, content, first, last, tag='"now"')

    with serving(honest) as address, deaf_port() as port:
        seen = AuditRow(f"{address}/a.ckpt", "remappable", size=len(content), mark='"now"')
        rows = [
            seen,
            seen._replace(file=f"{address}/b.ckpt", mark='"before"'),
            seen._replace(file=f"{address}/c.ckpt", size=len(content) + 1),
            seen._replace(file=f"http://127.0.0.1:{port}/d.ckpt"),
        ]
        (tmp_path / "far.jsonl").write_bytes(b"".join(map(line_of, rows)))
        _, told = remap(tmp_path / "far.jsonl", tmp_path / "out", capsys)
    # the first is what it was: that nothing of it can be remapped is what its own bytes say
    assert [(row["fortune"], row["code"]) for row in told] == [
        ("refused", "VC301"),
        ("changed", "VC402"),
        ("changed", "VC402"),
        ("refused", "VC361"),
    ]
    # nobody answered: a later run asks again
    assert ["mark" in row for row in told] == [True, False, False, False]


def test_a_ledger_of_relative_paths_is_read_from_anywhere(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "models")
    assert main(["audit", ".", "--ledger", "../relative.jsonl", "-q"]) == 2
    monkeypatch.chdir(tmp_path / "models" / "a")
    code, rows = remap(Path("../../relative.jsonl"), Path("../../out"), capsys)
    assert (code, {row["fortune"] for row in rows}) == (0, {"written"})
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    monkeypatch.chdir(tmp_path / "models")
    code, rows = remap(Path("../relative.jsonl"), tmp_path / "out", capsys)
    assert (code, [row["file"] for row in rows]) == (0, ["./a/old.safetensors", "./b/epoch=1.ckpt", "./b/epoch=1.pt"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")} == stamps
    # another folder with the same names is another one, in the same ledger too
    (tmp_path / "models" / "b" / "old.safetensors").write_bytes(
        (tmp_path / "models" / "a" / "old.safetensors").read_bytes()
    )
    for folder in "ba":
        monkeypatch.chdir(tmp_path / "models" / folder)
        main(["audit", "old.safetensors", "--ledger", "../../both.jsonl", "-q"])
    os.unlink(tmp_path / "models" / "a" / "old.safetensors")
    code, rows = remap(tmp_path / "both.jsonl", tmp_path / "both", capsys)
    assert (code, [row["fortune"] for row in rows]) == (2, ["written", "changed"])
    assert rows[1]["message"] == "the file is not there any more"


def test_the_table_counts_by_what_became_of_them(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["remap", "--from-ledger", str(ledger), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["written"] * 3
    assert lines[4].startswith("3 remappable files, ")
    # what nobody stated is in no file that was written, and is said as `remap` of one file says it
    assert lines[0].endswith("a/old.safetensors  VC302")
    meaning = "the weights do not tell an argument that changes predictions"
    assert lines[5].startswith(f"  written  VC302         3  {meaning}  e.g. ")
    assert main(["remap", "--from-ledger", str(ledger), "-o", str(tmp_path / "o"), "--set", "stem_stride=5,4,4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a/old.safetensors")
    assert lines[5].startswith("  written                3  e.g. ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from-ledger", "nowhere.jsonl", "-o", "out/"], "No such file"),
        (["--from-ledger", "LEDGER"], "add -o FOLDER/"),
        (["a.ckpt", "--from-ledger", "LEDGER", "-o", "out/"], "FILE is for one file"),
        (["--from-ledger", "LEDGER", "-o", "out/", "--prove"], "--prove is for one file"),
        (["--from-ledger", "OTHER", "-o", "out/"], "this is no ledger"),
        (["-o", "out.safetensors"], "no file was given"),
        (["a.ckpt", "--jobs", "2"], "--jobs is for the many files of a ledger"),
        (["--from-ledger", "LEDGER", "-o", "out/", "--jobs", "0"], "--jobs 0 is no number of processes"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    ledger: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").write_text("{}\n")
    assert main(["remap", *(word.replace("LEDGER", str(ledger)).replace("OTHER", "other") for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_lines_of_the_record_that_are_no_answers_are_passed_over(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = remap(ledger, tmp_path / "out", capsys)
    record = tmp_path / "out" / "viscy-compat-remap.jsonl"
    for line in ('{"file": [], "fortune": "written"}', '{"file": "a", "fortune": "lost"}', "[" * 10_000, "[]", "1"):
        record.write_text(f"{line}\n{record.read_text()}")
    assert remap(ledger, tmp_path / "out", capsys) == (0, first)


def test_a_record_that_is_a_fifo_is_not_waited_for(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "viscy-compat-remap.jsonl")
    assert main(["remap", "--from-ledger", str(ledger), "-o", str(tmp_path / "out")]) == 2
    assert "this is a fifo, not a file" in capsys.readouterr().err


def many(folder: Path, count: int) -> Path:
    """The ledger of so many small files whose names stand below a prefix that nobody takes off."""
    network = find("BetaVaeMonai")
    config = complete(
        network,
        {
            "spatial_dims": 2,
            "in_shape": (1, 16, 16),
            "out_channels": 1,
            "latent_size": 4,
            "channels": (2, 4),
            "strides": (2, 2),
        },
    )
    layout = {f"net.{name}": spec for name, spec in network.layout(config).items()}
    (folder / "models").mkdir()
    for number in range(count):
        hollow(folder / "models" / f"epoch={number}.safetensors", layout)
    place = folder / "ledger.jsonl"
    assert main(["audit", str(folder / "models"), "--ledger", str(place), "-q", "--jobs", "1"]) == 1
    return place


def test_two_processes_write_what_one_does_in_the_same_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = many(tmp_path, 12)
    (tmp_path / "models" / "epoch=7.safetensors").write_bytes(b"changed since")
    answers = []
    for jobs in ("1", "2"):
        code, rows = remap(ledger, tmp_path / f"out{jobs}", capsys, "--jobs", jobs)
        assert (code, [row["fortune"] for row in rows].count("written")) == (2, 11)
        answers.append([(row["file"], row["fortune"], row.get("size"), row.get("code")) for row in rows])
        record = (tmp_path / f"out{jobs}" / "viscy-compat-remap.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["file"] for line in record) == sorted(str(row["file"]) for row in rows)
    assert answers[0] == answers[1]
    for path in (tmp_path / "out1").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "out2" / path.name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_whole_files_alone_and_a_later_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, out = many(tmp_path, 60), tmp_path / "out"
    words = ["--from-ledger", str(ledger), "-o", f"{out}/", "--jobs", "2", "--format", "jsonl"]
    command = [sys.executable, "-c", PATIENT, "remap", *words]
    pipe = subprocess.PIPE
    # read byte by byte, and with room for some rows alone: the run cannot come to its end before the signal
    run = subprocess.Popen(command, stdout=pipe, stderr=pipe, bufsize=0, pipesize=4096, start_new_session=True)
    assert run.stdout is not None
    assert run.stdout.readline()
    # what Ctrl-C sends goes to the whole group, the workers too
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate()
    assert (run.returncode, said) == (130, b"viscy-compat: interrupted\n"), said
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert 0 < len(stamps) < 60
    code, rows = remap(ledger, out, capsys, "--jobs", "1")
    assert (code, [row["fortune"] for row in rows]) == (0, ["written"] * 60)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
