"""A ledger is a regular file of rows: nothing else is waited for, held in memory or changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from viscy_compat.errors import UsageError
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
