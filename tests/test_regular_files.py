"""Files of a user are opened in one place: regular ones, of a bounded size, without waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.assembly import state, zipped
from viscy_compat.cli import main
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


def test_no_report_and_no_output_takes_the_place_of_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = zipped(state())
    for name in ("a.ckpt", "b.ckpt", "bare"):
        Path(name).write_bytes(content)
    Path("c.yml").write_text("model: {in_channels: 1}")
    Path("link.json").symlink_to("bare")
    remap = ("remap", "a.ckpt", "--force", "-o", "o.ckpt")
    asked: list[tuple[tuple[str, ...], str]] = [
        (("check", "a.ckpt", "--output", "json:a.ckpt"), "no report replaces"),
        (("check", ".", "--output", "json:b.ckpt"), "no report replaces"),
        (("check", "bare", "--output", "json:./bare"), "inputs stay"),
        (("inspect", "bare", "--output", "json:link.json"), "inputs stay"),
        (("audit", "bare", "--output", "csv:bare"), "inputs stay"),
        (("check", "a.ckpt", "--config", "c.yml", "--output", "json:c.yml"), "inputs stay"),
        (("check", "a.ckpt", "--output", "json:x", "--output", "html:./x"), "two outputs"),
        ((*remap, "--against", "b.ckpt", "--card", "b.ckpt"), "inputs stay"),
        ((*remap, "--card", "a.ckpt"), "inputs stay"),
        ((*remap, "--card", "o.ckpt"), "two outputs"),
        ((*remap, "--write-plan", "./o.ckpt"), "two outputs"),
        ((*remap, "--output", "json:o.ckpt"), "two outputs"),
        (("remap", "a.ckpt", "--force", "--against", "b.ckpt", "-o", "b.ckpt"), "inputs stay"),
    ]
    for words, said in asked:
        assert main([*words]) == 2, words
        assert said in capsys.readouterr().err, words
    assert {Path(name).read_bytes() for name in ("a.ckpt", "b.ckpt", "bare")} == {content}
    assert sorted(os.listdir()) == ["a.ckpt", "b.ckpt", "bare", "c.yml", "link.json"]
    # pipes and devices hold more than one, and what is a report stays one
    Path("old.json").write_text("a report of yesterday")
    outputs = ("json:old.json", "json:/dev/null", "html:/dev/null")
    assert main(["inspect", "a.ckpt", *(word for output in outputs for word in ("--output", output))]) == 0
    assert '"schema": 1' in Path("old.json").read_text()
