"""Lists of paths: each is read to its end, from a regular file, and what is no list is one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from viscy_compat.errors import UsageError
from viscy_compat.fleet.listing import expand_lists


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_no_path_of_a_long_list_is_cut(tmp_path: Path, end: str) -> None:
    paths = [f"{'folder/' * 9}{number}.ckpt" for number in range(3_000)]
    (tmp_path / "list").write_text(end.join(paths), newline="")
    assert list(expand_lists([f"@{tmp_path / 'list'}"])) == paths


def test_what_is_no_list_is_refused_and_its_twin_is_read(tmp_path: Path) -> None:
    for name, content in {"zeros": b"a\0\0b", "long": b"a" * (1 << 17), "list": b"a\0b"}.items():
        (tmp_path / name).write_bytes(content)
    os.truncate(tmp_path / "zeros", 1 << 40)
    os.mkfifo(tmp_path / "fifo")
    said = {"zeros": "no list of paths", "long": "more than 65536 bytes", "fifo": "a fifo, not a file", "": "a folder"}
    for name, words in said.items():
        with pytest.raises(UsageError, match=words):
            list(expand_lists([f"@{tmp_path / name}"]))
    assert list(expand_lists(["x", f"@{tmp_path / 'list'}"])) == ["x", "a", "b"]


def test_blank_lines_and_the_mark_of_windows_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfa.ckpt\r\n   \r\n\t\n\n c .ckpt \n\xef\xbb\xbfd")
    assert list(expand_lists([f"@{tmp_path / 'list'}"])) == ["a.ckpt", " c .ckpt ", "\ufeffd"]
    (tmp_path / "list").write_bytes("a.ckpt\n".encode("utf-16"))
    with pytest.raises(UsageError, match="written in UTF-16"):
        list(expand_lists([f"@{tmp_path / 'list'}"]))


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(UsageError, match="an empty path was given"):
        list(expand_lists(["a", ""]))
