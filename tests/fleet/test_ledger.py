"""A ledger is a regular file of rows: nothing else is waited for, held in memory or changed."""

from __future__ import annotations

import errno
import io
import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.fleet import ledger as module
from viscy_compat.fleet.ledger import Ledger, latest_rows, usual_ledger
from viscy_compat.fleet.row import AuditRow, line_of
from viscy_compat.fleet.target import Target

ROW = line_of(AuditRow("a.ckpt", "remappable", size=3))


def test_a_fifo_a_folder_and_a_terabyte_are_no_ledgers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", 1 << 40)
    for name, words in {"fifo": "a fifo, not a file", "zeros": "more than 1048576 bytes", "": "a folder"}.items():
        for read in (Ledger, lambda path: list(latest_rows(path))):
            with pytest.raises(UsageError, match=words) as refused:
                read(str(tmp_path / name))
            assert str(refused.value).startswith(f"{tmp_path / name}: ")
    assert (tmp_path / "zeros").stat().st_size == 1 << 40


def test_a_line_that_is_no_row_is_counted_and_its_twin_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    for verdict in (b"[]", b"{}", b"1"):
        path.write_bytes(ROW + ROW.replace(b'"remappable"', verdict))
        with pytest.raises(UsageError, match="line 2 is no row"):
            Ledger(str(path))
        with pytest.raises(UsageError, match="no ledger"):
            list(latest_rows(str(path)))
    path.write_bytes(ROW + ROW.replace(b"a.ckpt", b"b.ckpt"))
    Ledger(str(path)).close()
    assert [row.file for row in latest_rows(str(path))] == ["a.ckpt", "b.ckpt"]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_row_that_was_cut_at_any_byte_is_taken_off_and_what_is_none_stays(tmp_path: Path, rows: int) -> None:
    path, whole = tmp_path / "ledger", ROW * rows
    for length in range(len(ROW)):
        path.write_bytes(whole + ROW[:length])
        Ledger(str(path)).close()
        assert path.read_bytes() == whole
    for other in (b'{"a', b"{}", b'{"schema":2,'):
        path.write_bytes(whole + other)
        with pytest.raises(UsageError, match=f"line {rows + 1} is no row"):
            Ledger(str(path))
        assert path.read_bytes() == whole + other


ROWS = [AuditRow(f"{name}.ckpt", "remappable", size=3) for name in "abc"]


def places_of(ledger: Ledger, rows: list[AuditRow]) -> array[int]:
    """Where rows stand, one after the other, in the order in which they were written."""
    return array("q", [ledger.append(line_of(row), row) for row in rows])


def test_what_may_be_otherwise_in_an_hour_is_no_answer(tmp_path: Path) -> None:
    codes = ("VC403", "VC401", "VC402", "VC360")
    rows = [ROWS[0]._replace(file=f"{code}.ckpt", codes={code: 1}) for code in codes]
    with Ledger(str(tmp_path / "ledger")) as ledger:
        places_of(ledger, rows)
    # what is wrong with its bytes is so until they change; permissions are no part of them
    with Ledger(str(tmp_path / "ledger")) as ledger:
        found = [ledger.find(row.target, row.tool, row.options) for row in rows]
    assert [place is not None for place in found] == [True, False, False, False]


def test_a_row_for_which_there_is_no_room_is_taken_off_and_the_rows_before_stay(tmp_path: Path) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if not super().write(data[:5]) or len(data) < 40:
                raise OSError(errno.ENOSPC, "No space left on device")
            return 5

    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places_of(ledger, ROWS[:1])
        ledger._out = Full(path, "ab")
        with pytest.raises(OutputRefused) as refused:
            places_of(ledger, ROWS[1:])
    assert str(refused.value) == f"{path}: No space left on device; choose another place with --ledger"
    assert path.read_bytes() == line_of(ROWS[0])


def test_a_ledger_that_cannot_be_put_in_order_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places = places_of(ledger, ROWS)[::-1]
        assert ledger.sort(places) == "Permission denied"
        assert [ledger.row(place) for place in places] == ROWS[::-1]
    assert path.read_bytes() == b"".join(map(line_of, ROWS))
    assert os.listdir(tmp_path) == ["ledger"]


def test_a_ledger_behind_a_link_stays_there_and_keeps_who_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "far").touch(mode=0o640)
    (tmp_path / "near").symlink_to("far")
    with Ledger(str(tmp_path / "near")) as ledger:
        places = places_of(ledger, ROWS)[::-1]
        assert ledger.sort(places) == ""
        assert [ledger.row(place) for place in places] == ROWS[::-1]
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far").read_bytes() == b"".join(map(line_of, ROWS[::-1]))
    assert (tmp_path / "far").stat().st_mode & 0o777 == 0o640


def test_a_ledger_that_another_run_put_in_order_meanwhile_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "ledger", Ledger._lock
    path.write_bytes(ROW)

    def replacing(ledger: Ledger) -> None:
        if path.read_bytes() == ROW:
            (tmp_path / "new").write_bytes(ROW + line_of(ROWS[1]))
            (tmp_path / "new").rename(path)
        lock(ledger)

    monkeypatch.setattr(Ledger, "_lock", replacing)
    with Ledger(str(path)) as ledger:
        places_of(ledger, ROWS[2:])
    assert [row.file for row in latest_rows(str(path))] == ["a.ckpt", "b.ckpt", "c.ckpt"]


def lines_in(path: Path) -> list[str]:
    """The files of a ledger's lines, whatever they hold besides."""
    return [json.loads(line)["file"] for line in path.read_text().splitlines()]


def test_a_place_where_no_ledger_can_be_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "ledger")
    with pytest.raises(OutputRefused) as refused:
        Ledger(path)
    assert str(refused.value) == f"{path}: No such file or directory; choose another place with --ledger"
    with pytest.raises(UsageError) as wrong:
        Ledger(str(tmp_path))
    assert str(wrong.value).startswith(f"{tmp_path}: this is a folder")
    assert str(wrong.value).endswith("; give --ledger the name of a file")


def test_two_runs_do_not_write_one_ledger(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    with Ledger(path), pytest.raises(UsageError) as refused:
        Ledger(path)
    said = "another audit writes this ledger; wait for it, or choose another --ledger"
    assert str(refused.value) == f"{path}: {said}"
    Ledger(path).close()


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"size": 4}, False),
        ({"modified_ns": 8}, False),
        ({"inode": 9}, False),
        ({"tool": "0.0.9"}, False),
        ({"options": "--thorough"}, False),
    ],
)
def test_a_row_is_an_answer_for_the_file_as_it_was_the_version_and_the_options(
    change: dict[str, Any], known: bool, tmp_path: Path
) -> None:
    row = ROWS[0]._replace(modified_ns=7, inode=5)
    with Ledger(str(tmp_path / "ledger")) as ledger:
        places_of(ledger, [ROWS[1], row])
        asked = row._replace(**change)
        assert ledger.find(asked.target, asked.tool, asked.options) == (len(line_of(ROWS[1])) if known else None)


def test_only_a_server_that_an_earlier_run_asked_is_asked_whether_its_file_is_still_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = AuditRow("https://host/a.ckpt", "remappable", size=3, mark="v1")
    asked: list[str] = []

    def probe(target: Target) -> Target:
        asked.append(target.path)
        return target._replace(size=3, mark="v2" if "token=2" in target.path else "v1")

    monkeypatch.setattr(module, "probe", probe)
    with Ledger(str(tmp_path / "ledger")) as ledger:
        places_of(ledger, [row])
        for address, place in {"b.ckpt": None, "a.ckpt": 0, "a.ckpt?token=1": 0, "a.ckpt?token=2": None}.items():
            target = Target(f"https://host/{address}", named=False)
            assert ledger.find(target, row.tool, row.options) == place
    assert asked == [f"https://host/a.ckpt{query}" for query in ("", "?token=1", "?token=2")]


def test_a_row_that_was_replaced_is_left_out_and_other_rows_come_after_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places_of(ledger, [*ROWS, ROWS[0]._replace(verdict="compatible")])
    with Ledger(str(path)) as ledger:
        # what this run judged: the last file alone
        places = places_of(ledger, [ROWS[2]._replace(size=4)])
        assert ledger.sort(places) == ""
        assert ledger.row(places[0]) == ROWS[2]._replace(size=4)
    assert lines_in(path) == ["c.ckpt", "a.ckpt", "b.ckpt"]
    assert [row.verdict for row in latest_rows(str(path))] == ["remappable", "compatible", "remappable"]


def test_a_ledger_in_order_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places = places_of(ledger, ROWS)
        before = path.stat().st_ino
        assert ledger.sort(places, [str(tmp_path)]) == ""
        assert path.stat().st_ino == before
    assert lines_in(path) == ["a.ckpt", "b.ckpt", "c.ckpt"]


def test_files_that_are_gone_leave_the_ledger_where_their_folder_was_listed(tmp_path: Path) -> None:
    for name in ("listed", "listed-too", "other"):
        (tmp_path / name).mkdir()
    names = ["listed/gone", "listed/there", "listed-too/gone", "other/gone", "listed/new"]
    rows = [AuditRow(str(tmp_path / name), "unknown") for name in names]
    (tmp_path / "listed" / "there").touch()
    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places_of(ledger, rows[:4])
        assert ledger.sort(places_of(ledger, rows[4:]), [str(tmp_path / "listed")]) == ""
    assert lines_in(path) == [str(tmp_path / names[place]) for place in (4, 1, 2, 3)]


def test_a_line_that_something_else_changed_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(str(path)) as ledger:
        places = places_of(ledger, ROWS)
        path.write_bytes(path.read_bytes().replace(b"remappable", b"remappabel"))
        with pytest.raises(UsageError) as refused:
            ledger.row(places[1])
    assert str(refused.value) == f"{path}: the ledger was changed by something else; run the audit again"


def test_a_file_that_is_no_ledger_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(ROW + b"a line\n")
    with pytest.raises(UsageError) as refused:
        Ledger(str(path))
    said = "line 2 is no row of an audit; give --ledger another name: nothing of this file was changed"
    assert str(refused.value) == f"{path}: {said}"
    assert path.read_bytes() == ROW + b"a line\n"
    with pytest.raises(UsageError) as read:
        list(latest_rows(str(path)))
    assert str(read.value) == f"{path}: this is no ledger of an audit; give the file of audit --ledger"
    absent = str(tmp_path / "absent")
    with pytest.raises(UsageError) as missing:
        list(latest_rows(absent))
    assert str(missing.value) == f"{absent}: No such file or directory; give the ledger of an audit"


def test_the_usual_ledger_is_one_for_the_same_paths_wherever_they_are_typed_and_in_no_folder_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    place = usual_ledger(["runs", "https://me:secret@host/a.ckpt?token=1"])
    assert os.path.dirname(place) == str(tmp_path / "cache" / "audits")
    assert place.endswith(".jsonl")
    assert len(os.path.basename(place)) == 16 + len(".jsonl")
    assert os.listdir(os.path.dirname(place)) == []
    assert usual_ledger([str(tmp_path / "runs"), "https://host/a.ckpt"]) == place
    others = [["runs"], ["https://host/a.ckpt", "runs"], ["runs2", "https://host/a.ckpt"]]
    assert place not in [usual_ledger(paths) for paths in others]
    (tmp_path / "file").touch()
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputRefused) as refused:
        usual_ledger(["runs"])
    where = tmp_path / "file" / "audits"
    assert str(refused.value) == f"{where}: Not a directory; choose another place with --ledger"


def test_a_ledger_that_cannot_be_read_to_its_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(*_: object) -> Iterator[bytes]:
        yield ROW
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "ledger"
    path.write_bytes(ROW)
    monkeypatch.setattr(module, "lines_of", torn)
    with pytest.raises(UsageError) as read:
        list(latest_rows(str(path)))
    assert str(read.value) == f"{path}: Input/output error; give the ledger of an audit"
    with pytest.raises(OutputRefused) as opened:
        Ledger(str(path))
    assert str(opened.value) == f"{path}: Input/output error; choose another place with --ledger"
