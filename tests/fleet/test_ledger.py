"""A ledger is a regular file of rows: nothing else is waited for, held in memory or changed."""

from __future__ import annotations

import errno
import io
import os
from array import array
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.errors import OutputRefused, UsageError
from viscy_compat.fleet.ledger import Ledger, latest_rows
from viscy_compat.fleet.row import AuditRow, line_of

ROW = line_of(AuditRow("a.ckpt", "remappable", size=3))


def test_a_fifo_a_folder_and_a_terabyte_are_no_ledgers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", 1 << 40)
    for name, words in {"fifo": "a fifo, not a file", "zeros": "more than 1048576 bytes", "": "a folder"}.items():
        for read in (Ledger, lambda path: list(latest_rows(path))):
            with pytest.raises(UsageError, match=words):
                read(str(tmp_path / name))
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
        with pytest.raises(OutputRefused, match="No space left on device"):
            places_of(ledger, ROWS[1:])
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
