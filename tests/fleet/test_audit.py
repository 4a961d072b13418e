"""`audit` as people run it: order, links, lists, the ledger, what ends it, and what it costs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from support import chores
from support.assembly import state, zipped
from support.layouts import hollow
from support.uncounted import uncounted
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.errors import WorkerFailed
from viscy_compat.fleet.audit import Audit
from viscy_compat.fleet.engines import Cores, OwnProcess, engine_for, usable_cores
from viscy_compat.fleet.judging import AuditQuestion, judge_shard
from viscy_compat.fleet.ledger import Ledger
from viscy_compat.fleet.listing import TargetSpool
from viscy_compat.fleet.row import AuditRow, row_in
from viscy_compat.fleet.target import Target, target_of

PROGRAM = (sys.executable, "-m", "viscy_compat", "audit")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, so that no run knows what another found."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(folder))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with one file of each verdict but `incompatible`, beside eleven epochs."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    encoder = find("ContrastiveEncoder")
    for name, generation in (("old", encoder.generations[0]), ("new", encoder.generations[-1])):
        case = (generation.cases or encoder.cases)[0]
        hollow(folder / f"{name}.safetensors", generation.layout(complete(encoder, case.config)))
    for epoch in range(1, 12):
        (folder / "sub" / f"epoch={epoch}.ckpt").write_bytes(zipped(state()))
    (folder / "sub" / "cut.ckpt").write_bytes(zipped(state())[:-30])
    return folder


def audit(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    code = main(["audit", *map(str, words), "--format", "jsonl"])
    done = capsys.readouterr()
    return code, [json.loads(line) for line in done.out.splitlines() if line], done.err


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [os.path.basename(str(row["file"])) for row in rows]


def test_rows_come_in_natural_order_and_say_what_check_says(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, _ = audit(capsys, files)
    assert code == 2
    epochs = [f"epoch={epoch}.ckpt" for epoch in range(1, 12)]
    assert names(rows) == ["new.safetensors", "old.safetensors", "cut.ckpt", *epochs]
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == ["compatible", "remappable", "unreadable", *["unknown"] * 11]
    for row in rows:
        main(["check", str(row["file"]), "--format", "json"])
        result = json.loads(capsys.readouterr().out)["results"][0]
        assert (row["verdict"], row.get("next", "")) == (result["verdict"], result["next"])
        assert row["codes"] == dict.fromkeys(row["codes"], 1)
        assert set(row["codes"]) == {finding["code"] for finding in result["findings"]}


def test_the_summary_counts_and_names_two_examples(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", str(files), "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert len(document["results"]) == 14
    table = {(row["group"], row["value"]): row for row in document["summary"]}
    unknown = table["verdict", "unknown"]
    size = len(zipped(state()))
    assert (unknown["files"], unknown["bytes"]) == (11, 11 * size)
    assert list(map(os.path.basename, unknown["examples"])) == ["epoch=1.ckpt", "epoch=2.ckpt"]
    assert table["generation", "ContrastiveEncoder v0.2"]["files"] == 1
    assert table["finding", "VC301"]["files"] == 11
    assert table["to be stated", "stem_stride"]["files"] >= 1


def test_a_second_run_reads_no_file_that_is_as_it_was(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, before, _ = audit(capsys, files)
    changed = files / "sub" / "epoch=3.ckpt"
    changed.write_bytes(zipped(state())[:-30])
    _, after, said = audit(capsys, files)
    assert "13 known from an earlier run" in said
    assert [row["verdict"] for row in after if row["file"] == str(changed)] == ["unreadable"]
    assert [row for row in after if row["file"] != str(changed)] == [
        row for row in before if row["file"] != str(changed)
    ]


def test_a_ledger_holds_each_file_once_in_the_order_of_the_run(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    for _ in range(2):
        _, rows, _ = audit(capsys, files, "--ledger", ledger)
        (files / "sub" / "epoch=7.ckpt").write_bytes(zipped(state(a=b"N")))
    _, rows, _ = audit(capsys, files, "--ledger", ledger)
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == rows
    assert sorted(os.listdir(tmp_path)) == ["files", "ledger.jsonl"]


def test_what_is_gone_from_a_folder_is_gone_from_its_ledger_and_nothing_else_is(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    other = tmp_path / "other.ckpt"
    other.write_bytes(zipped(state()))
    audit(capsys, other, "--ledger", ledger)
    audit(capsys, files, "--ledger", ledger)
    other.unlink()
    (files / "sub" / "epoch=5.ckpt").unlink()
    # one that is looked at alone says nothing of the others
    audit(capsys, files / "old.safetensors", "--ledger", ledger)
    assert sum("epoch=5" in line for line in ledger.read_text().splitlines()) == 1
    _, rows, _ = audit(capsys, files, "--ledger", ledger)
    kept = [json.loads(line)["file"] for line in ledger.read_text().splitlines()]
    assert kept == [*(row["file"] for row in rows), str(other)]


def test_another_question_and_another_version_are_judged_anew(
    files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    audit(capsys, files, "--ledger", ledger)
    assert "known" not in audit(capsys, files, "--ledger", ledger, "--thorough")[2]
    assert "14 known" in audit(capsys, files, "--ledger", ledger, "--thorough")[2]
    ledger.write_text(ledger.read_text().replace('"tool":"', '"tool":"0.0.'))
    assert "known" not in audit(capsys, files, "--ledger", ledger, "--thorough")[2]
    assert "known" not in audit(capsys, files, "--ledger", ledger, "--thorough", "--fresh")[2]


def test_half_a_line_of_a_killed_run_is_judged_again(
    files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    _, rows, _ = audit(capsys, files, "--ledger", ledger)
    ledger.write_bytes(ledger.read_bytes()[:-20])
    _, again, said = audit(capsys, files, "--ledger", ledger)
    assert again == rows
    assert "13 known" in said


@pytest.mark.parametrize("content", ["not a ledger\n", '{"a": 1}\n', "no newline at the end"])
def test_a_file_that_is_no_ledger_is_left_as_it_is(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    other = tmp_path / "notes.txt"
    other.write_text(content)
    assert main(["audit", str(files), "--ledger", str(other)]) == 2
    assert "is no row of an audit" in capsys.readouterr().err
    assert other.read_text() == content


def test_two_runs_never_write_one_ledger(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger(str(tmp_path / "ledger.jsonl")):
        assert main(["audit", str(files), "--ledger", str(tmp_path / "ledger.jsonl")]) == 2
    assert "another audit writes this ledger" in capsys.readouterr().err


def test_nothing_is_written_beside_the_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.walk(files)), [os.stat(path).st_mtime_ns for path in (files, files / "sub")]
    audit(capsys, files)
    assert before == (sorted(os.walk(files)), [os.stat(path).st_mtime_ns for path in (files, files / "sub")])


def test_links_out_of_the_folder_are_followed_only_when_asked(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.ckpt").write_bytes(zipped(state()))
    (files / "sub" / "out.ckpt").symlink_to(outside / "secret.ckpt")
    (files / "sub" / "in.ckpt").symlink_to("epoch=1.ckpt")
    (files / "elsewhere").symlink_to(outside)
    (files / "round").symlink_to(files)
    stayed, followed = audit(capsys, files)[1], audit(capsys, files, "--follow")[1]
    assert {"in.ckpt"} == {*names(stayed)} & {"out.ckpt", "secret.ckpt", "in.ckpt"}
    assert {"out.ckpt", "secret.ckpt", "in.ckpt"} <= {*names(followed)}
    assert len(followed) == len(stayed) + 2
    main(["audit", str(files)])
    assert "out.ckpt: a link out of the folder, which is not followed (--follow)" in capsys.readouterr().out


def test_a_shard_behind_a_link_out_of_the_folder_is_not_read(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shard.safetensors").write_bytes((files / "new.safetensors").read_bytes())
    (files / "shard.safetensors").symlink_to(tmp_path / "shard.safetensors")
    index = {"metadata": {}, "weight_map": {"stem.conv.weight": "shard.safetensors"}}
    (files / "model.safetensors.index.json").write_text(json.dumps(index))
    row = next(row for row in audit(capsys, files)[1] if names([row]) == ["model.safetensors.index.json"])
    assert row["verdict"] == "unreadable"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
def test_fifos_sockets_and_devices_are_named_and_never_opened(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(files / "sub" / "fifo.ckpt")
    monkeypatch.chdir(files / "sub")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.ckpt")
        opened: list[object] = []
        real = os.open

        def noted(path: Any, *rest: Any, **more: Any) -> int:
            opened.append(path)
            return real(path, *rest, **more)

        monkeypatch.setattr(os, "open", noted)
        _, rows, _ = audit(capsys, ".")
    messages = {name: row["message"] for name, row in zip(names(rows), rows, strict=True) if "message" in row}
    assert messages["fifo.ckpt"] == "this is a fifo, not a file"
    assert messages["socket.ckpt"] == "this is a socket, not a file"
    assert not [path for path in opened if "fifo" in str(path) or "socket" in str(path)]


def test_lists_come_from_stdin_and_from_files(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = files / "sub" / "epoch=1.ckpt", files / "old.safetensors"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{second}\r\n\n{first}\n{tmp_path / 'gone.ckpt'}\n")
    _, rows, _ = audit(capsys, f"@{listed}")
    assert names(rows) == ["old.safetensors", "epoch=1.ckpt", "gone.ckpt"]
    assert rows[2]["verdict"] == "unreadable"
    done = subprocess.run(
        [*PROGRAM, "-", "--format", "jsonl"], input=f"{first}\0{second}\0{first}\0", capture_output=True, text=True
    )
    assert names([json.loads(line) for line in done.stdout.splitlines()]) == ["epoch=1.ckpt", "old.safetensors"]


def test_allowed_verdicts_and_foreign_files_decide_the_exit_code(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "optimizer.pt").write_bytes(zipped(state(a=b"N")))
    (files / "vocabulary.pkl").write_bytes(b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.")
    assert audit(capsys, files, "--allow", "unknown,unreadable")[0] == 1
    assert audit(capsys, files, "--allow", "unknown,unreadable,remappable")[0] == 0
    assert audit(capsys, files, "--allow", "unknown,unreadable,remappable", "--foreign", "fail")[0] == 0
    assert audit(capsys, files, "--allow", "unknown,remappable", "--foreign", "fail")[0] == 2
    rows = audit(capsys, files)[1]
    kinds = {name: row.get("foreign") for name, row in zip(names(rows), rows, strict=True)}
    assert kinds["vocabulary.pkl"]
    assert not kinds["cut.ckpt"]
    assert "vocabulary.pkl" not in names(audit(capsys, files, "--foreign", "skip")[1])
    assert main(["audit", str(files), "--allow", "unheard"]) == 2


def test_a_folder_without_checkpoints_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["audit", str(tmp_path / "empty")]) == 2
    said = capsys.readouterr().err
    assert "no checkpoint below this folder" in said
    assert len(said.splitlines()) == 1


# --- every core -------------------------------------------------------------------------------------------------------


def many(folder: Path, count: int) -> Path:
    """Write `count` small checkpoints."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"epoch={number}.ckpt").write_bytes(zipped(state()))
    return folder


def test_two_processes_find_what_one_finds_in_the_same_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = many(tmp_path / "many", 120)
    one = audit(capsys, folder, "--jobs", "1", "--ledger", tmp_path / "1.jsonl")[1]
    two = audit(capsys, folder, "--jobs", "2", "--ledger", tmp_path / "2.jsonl")[1]
    assert one == two
    assert names(one) == [f"epoch={number}.ckpt" for number in range(120)]
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "2.jsonl").read_text()


def test_few_files_and_one_job_need_no_process() -> None:
    for engine, kind in (
        (engine_for("", None, 10), OwnProcess),
        (engine_for("", 1, 10_000), OwnProcess),
        (engine_for("", 2, 10_000), Cores),
    ):
        assert isinstance(engine, kind)
        engine.close(at_once=True)
    assert usable_cores() >= 1


def test_a_file_that_ends_its_process_is_named_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = many(tmp_path / "many", 40)
    monkeypatch.setattr("viscy_compat.fleet.engines.judge_shard", chores.die_of_one)
    targets = (target_of(str(folder / f"epoch={number}.ckpt"), named=False) for number in range(40))
    engine = Cores(2)
    with TargetSpool(targets) as spool, Ledger(str(tmp_path / "ledger.jsonl")) as ledger:
        rows = list(Audit(AuditQuestion(), engine, ledger).rows(spool))
    engine.close(at_once=True)
    assert [row.file for row in rows] == [str(folder / f"epoch={number}.ckpt") for number in range(40)]
    assert {row.file for row in rows if "VC360" in row.codes} == {str(folder / "epoch=5.ckpt")}
    assert {row.verdict for row in rows if "VC360" not in row.codes} == {"unknown"}


def test_processes_that_never_answer_are_one_error_and_not_ten_thousand_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = many(tmp_path / "many", 40)
    monkeypatch.setattr("viscy_compat.fleet.engines.judge_shard", chores.die_of_all)
    engine = Cores(2)
    targets = [target_of(str(path), named=False) for path in folder.iterdir()]
    with (
        TargetSpool(targets) as spool,
        Ledger(str(tmp_path / "ledger.jsonl")) as ledger,
        pytest.raises(WorkerFailed, match="no process that reads files comes to an answer"),
    ):
        list(Audit(AuditQuestion(), engine, ledger).rows(spool))
    engine.close(at_once=True)
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""


class Distant:
    """An engine of other machines: what ends one shard ends no other, and files can be such that they end theirs."""

    shard, window, falls_together = 100, 1_000, False

    def __init__(self, problem: BaseException | None = None, deadly: tuple[str, ...] = (), tool: str = "") -> None:
        self.problem, self.deadly, self.tool = problem, deadly, tool
        self.handed: list[list[str]] = []
        self.is_gone = False

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        self.handed.append([os.path.basename(target.path) for target in targets])
        future: Future[list[bytes]] = Future()
        if isinstance(self.problem, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        elif self.problem and (not self.deadly or set(self.handed[-1]) & set(self.deadly)):
            future.set_exception(self.problem)
        elif not self.is_gone:
            lines = judge_shard(question, targets)
            future.set_result([line.replace(b'"0.1.0"', self.tool.encode() or b'"0.1.0"') for line in lines])
        return future

    def renew(self) -> None:
        self.refuse_absence()

    def refuse_absence(self) -> None:
        if self.is_gone:
            raise WorkerFailed("the scheduler is gone")

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, at_once: bool) -> None:
        """Nothing is open."""


def rows_by(engine: Distant, tmp_path: Path, count: int) -> list[AuditRow]:
    """What an engine finds in a folder of so many files."""
    folder = many(tmp_path / "many", count)
    targets = (target_of(str(folder / f"epoch={number}.ckpt"), named=False) for number in range(count))
    with TargetSpool(targets) as spool, Ledger(str(tmp_path / "ledger.jsonl")) as ledger:
        return list(Audit(AuditQuestion(), engine, ledger).rows(spool))


def test_a_shard_that_ends_elsewhere_is_judged_in_pieces_and_no_other_again(tmp_path: Path) -> None:
    engine = Distant(RuntimeError("killed"), deadly=("epoch=120.ckpt",))
    rows = rows_by(engine, tmp_path, 300)
    assert [os.path.basename(row.file) for row in rows] == [f"epoch={number}.ckpt" for number in range(300)]
    assert [row.file for row in rows if "VC360" in row.codes] == [rows[120].file]
    asked = Counter(name for shard in engine.handed for name in shard)
    assert {asked[f"epoch={number}.ckpt"] for number in (*range(100), *range(200, 300))} == {1}
    # a shard of 100 in tens, one of these in threes, these one by one, and the one at fault once more
    assert len(engine.handed) == 3 + 10 + 4 + 3 + 1


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Distant(ModuleNotFoundError("No module named 'viscy_compat'")), "a worker cannot import what it needs"),
        (Distant(tool='"9.9"'), "the workers have viscy-compat 9.9, and this is"),
    ],
)
def test_workers_of_another_installation_are_one_error(tmp_path: Path, engine: Distant, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        rows_by(engine, tmp_path, 3)


@pytest.mark.parametrize("problem", [None, CancelledError()])
def test_an_engine_that_is_gone_ends_the_run_whether_it_cancels_what_it_has_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException | None
) -> None:
    monkeypatch.setattr("viscy_compat.fleet.audit._LOOK", 0.001)
    engine = Distant(problem)
    engine.is_gone = True
    with pytest.raises(WorkerFailed, match="the scheduler is gone"):
        rows_by(engine, tmp_path, 3)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_loses_at_most_what_was_in_hand(tmp_path: Path, ending: signal.Signals) -> None:
    folder, ledger = many(tmp_path / "many", 1_200), tmp_path / "ledger.jsonl"
    words = [*PROGRAM, str(folder), "--ledger", str(ledger), "--jobs", "2", "--format", "jsonl"]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    first = [run.stdout.readline() for _ in range(20)]
    # what Ctrl-C sends goes to the whole group, the workers too
    os.killpg(run.pid, ending) if ending is signal.SIGINT else run.kill()
    rest, said = run.communicate()
    # a run that went on to its end would say 2: the output of 1,200 files is more than a pipe holds
    assert run.returncode == (130 if ending is signal.SIGINT else -9)
    assert "Traceback" not in said
    lines = ledger.read_bytes().split(b"\n")
    rows = [row_in(line) for line in lines[:-1]]
    assert all(isinstance(row, AuditRow) for row in rows)
    # what communicate gives begins where the buffer of readline ended, amid a line, and the last line may be cut too:
    # an object within a line begins and ends as a line does
    printed = {json.loads(line)["file"] for line in [*first, *rest.split("\n")[1:-1]]}
    assert {row.file for row in rows if row} >= printed
    done = subprocess.run(words, capture_output=True, text=True)
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert files == [str(folder / f"epoch={number}.ckpt") for number in range(1_200)]
    assert f"{len(rows):,} known from an earlier run" in done.stderr


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no descriptors of processes")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    folder = many(tmp_path / "many", 800)
    words = [*PROGRAM, str(folder), "--ledger", str(tmp_path / "ledger.jsonl"), "--jobs", "2", "--format", "jsonl"]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert run.stdout is not None
    run.stdout.readline()
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    ends = [os.pidfd_open(int(child)) for child in children]
    run.kill()
    run.communicate()
    assert len(ends) >= 2
    for end in ends:
        # readable once it has ended, whether or not anybody reaps it
        assert select.select([end], [], [], 300)[0]
        os.close(end)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_the_memory_of_the_parent_stays_small(tmp_path: Path) -> None:
    """At 100,000 files it was 71 MB, of which 22 are the program; the bound is a third of 120 MB for a third of them."""
    program = Path(__file__).parents[1] / "support" / "parent_memory.py"
    words = [sys.executable, str(program), "33000", str(tmp_path / "ledger.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=uncounted())
    assert int(done.stdout) <= 22 + (120 - 22) // 3


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_the_memory_of_a_worker_stays_small(tmp_path: Path) -> None:
    folder = many(tmp_path / "many", 600)
    program = Path(__file__).parents[1] / "support" / "worker_memory.py"
    done = subprocess.run(
        [sys.executable, str(program), str(folder)], capture_output=True, text=True, check=True, env=uncounted()
    )
    peaks = [int(line) for line in done.stdout.splitlines()]
    assert len(peaks) == 2
    assert [peak for peak in peaks if peak > 60_000] == []
