"""Files of a user are opened in one place: regular ones, of a bounded size, without waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from viscy_compat.errors import UnreadableCheckpoint, UsageError
from viscy_compat.regular_files import read_small


def test_a_small_file_is_read_to_the_last_byte_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_small(str(path), 5, "a text") == b"12345"
    with pytest.raises(UsageError, match="5 bytes are too many for a text; at most 4 are read"):
        read_small(str(path), 4, "a text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
def test_a_fifo_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UsageError, match="this is a fifo, not a file"):
        read_small(str(tmp_path / "a"), 5, "a text")


def test_a_sparse_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnreadableCheckpoint, match=f"{1 << 40} bytes are too many"):
        read_small(str(tmp_path / "a"), 1 << 20, "an index", error=UnreadableCheckpoint)


def test_a_folder_a_device_and_nothing_are_called_so(tmp_path: Path) -> None:
    for path, said in ((str(tmp_path), "a folder"), (os.devnull, "a device"), (str(tmp_path / "x"), "check the path")):
        with pytest.raises(UsageError, match=said):
            read_small(path, 5, "a text")
