"""Lists of paths: each is read to its end, from a regular file, and what is no list is one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import viscy_compat as vc
from support.folders import close_folders
from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside
from viscy_compat.fleet import listing
from viscy_compat.fleet.listing import TargetSpool, expand_lists, rooms_of, targets_of
from viscy_compat.fleet.target import Target


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_no_path_of_a_long_list_is_cut(tmp_path: Path, end: str) -> None:
    paths = [f"{'folder/' * 9}{number}.ckpt" for number in range(3_000)]
    (tmp_path / "list").write_text(end.join(paths), newline="")
    assert list(expand_lists([f"@{tmp_path / 'list'}"])) == paths


def test_a_list_whose_names_end_by_nul_may_hold_newlines_and_blanks(tmp_path: Path) -> None:
    names = ["a\nb.ckpt", " c\r", "\n", os.fsdecode(b"\xff.ckpt")]
    for end in (b"", b"\0"):
        (tmp_path / "list").write_bytes(b"\0".join(map(os.fsencode, names)) + end)
        assert list(expand_lists([f"@{tmp_path / 'list'}"])) == names
    (tmp_path / "list").write_bytes(b"a\nb.ckpt\r\n")
    assert list(expand_lists([f"@{tmp_path / 'list'}"])) == ["a", "b.ckpt"]


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


def test_folders_that_are_not_looked_into_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given/run/a.ckpt", "given/shut/b.ckpt", "other/c.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    given = tmp_path / "given"
    (given / "out").symlink_to(tmp_path / "other")
    # these lead to what is looked into anyway
    (given / "run" / "back").symlink_to("..")
    (given / "again").symlink_to("run")
    close_folders(monkeypatch)
    said = {
        str(given / "out"): "a link to a folder out of this one, which is not followed (--follow)",
        str(given / "shut"): "this folder cannot be listed (Permission denied)",
    }
    aside: list[Aside] = []
    assert [target.path for target in targets_of([str(given)], "stay", aside)] == [str(given / "run/a.ckpt")]
    assert {row.file: row.what for row in aside} == said
    aside = []
    found = [os.path.basename(target.path) for target in targets_of([str(given)], "follow", aside)]
    assert sorted(found) == ["a.ckpt", "c.ckpt"]
    assert [row.file for row in aside] == [str(given / "shut")]
    report = vc.check(str(given))
    assert [row.what for row in report.aside] == [said[str(given / "shut")]]


def test_a_folder_that_cannot_be_listed_leaves_no_answer_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, ledger = tmp_path / "given", str(tmp_path / "ledger.jsonl")
    (given / "shut").mkdir(parents=True)
    hollow(given / "a.safetensors", layout_of("ResNet3dEncoder", backbone="resnet18", in_channels=1))
    audit = ["audit", str(given), "--ledger", ledger, "-q"]
    assert (vc.check(str(given)).exit_code, main(["check", str(given)]), main(audit)) == (0, 0, 0)
    close_folders(monkeypatch)
    assert (vc.check(str(given)).exit_code, main(["check", str(given)]), main(audit)) == (2, 2, 2)
    assert vc.audit(str(given), ledger=ledger).exit_code == 2
    # where files may be unreadable, so may folders
    assert vc.audit(str(given), ledger=ledger, allow=["unreadable"]).exit_code == 0
    assert main([*audit, "--allow", "unreadable"]) == 0
    capsys.readouterr()
    for command in ("check", "audit"):
        assert main([command, str(given / "shut")]) == 2
        assert "this folder cannot be listed (Permission denied)" in capsys.readouterr().err


def test_a_file_that_is_given_opens_its_own_folder_and_that_of_what_it_links_to(tmp_path: Path) -> None:
    for name in ("given", "real", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "a.ckpt").touch()
    (tmp_path / "given" / "link.ckpt").symlink_to(tmp_path / "real" / "a.ckpt")
    paths = [str(tmp_path / "given" / "link.ckpt"), str(tmp_path / "other"), "https://a.example/b.ckpt"]
    real = os.path.realpath(tmp_path)
    assert rooms_of(paths, "stay") == (f"{real}/given", f"{real}/real", f"{real}/other")
    assert rooms_of(paths, "follow") == ()


def test_a_list_comes_from_stdin_where_a_dash_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.ckpt\nb.ckpt")))
    assert list(expand_lists(["x", "-", "y"])) == ["x", "a.ckpt", "b.ckpt", "y"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\0\0")))
    with pytest.raises(UsageError) as refused:
        list(expand_lists(["-"]))
    assert str(refused.value) == "stdin: this is no list of paths; one path a line is expected"


def test_what_is_wrong_with_a_list_is_said_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as absent:
        list(expand_lists(["@list"]))
    assert str(absent.value) == "list: No such file or directory; a file of that name is meant by ./@list"
    with pytest.raises(UsageError) as empty:
        list(expand_lists([""]))
    assert str(empty.value) == "an empty path was given; name files or folders"
    Path("list").write_bytes(b"\xff\xfea\0")
    with pytest.raises(UsageError) as strange:
        list(expand_lists(["@list"]))
    said = "this list is written in UTF-16, as older PowerShells do; UTF-8 is read"
    assert str(strange.value) == f"list: {said}; one path a line is expected"

    class Torn(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Torn()))
    with pytest.raises(UsageError) as torn:
        list(expand_lists(["-"]))
    assert str(torn.value) == "stdin: Input/output error; one path a line is expected"


def test_the_longest_line_of_a_list_is_one_byte_short_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a" * 65_535 + b"\nb")
    assert [len(name) for name in expand_lists([f"@{path}"])] == [65_535, 1]
    path.write_bytes(b"a" * 65_536 + b"\nb")
    with pytest.raises(UsageError) as refused:
        list(expand_lists([f"@{path}"]))
    assert str(refused.value) == f"{path}: a line has more than 65536 bytes; one path a line is expected"


def test_only_the_beginning_of_a_list_may_hold_a_mark_and_says_how_names_end(tmp_path: Path) -> None:
    path = tmp_path / "list"
    block = b"a" * 65_535
    path.write_bytes(block + b"\n" + "\ufeffb".encode())
    assert list(expand_lists([f"@{path}"]))[1] == "\ufeffb"
    # a NUL further on is part of a line, as wrong as it is
    path.write_bytes(block + b"\nb\0c\nd")
    assert list(expand_lists([f"@{path}"]))[1:] == ["b\0c", "d"]
    path.write_bytes(b"a\0b\r")
    assert list(expand_lists([f"@{path}"])) == ["a", "b\r"]


def test_a_name_without_a_folder_lies_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rooms_of(["a.ckpt"], "stay") == (os.path.realpath(tmp_path),)


def test_each_file_is_judged_once_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    for name in ("run/epoch=10.ckpt", "run/epoch=2.ckpt"):
        Path(name).touch()
    paths = [
        "run/epoch=2.ckpt",
        "run",
        "./run/epoch=10.ckpt",
        "gone.ckpt",
        "https://a.example/x",
        "https://a.example/x",
    ]
    aside: list[Aside] = []
    found = [(target.path, target.named) for target in targets_of(paths, "stay", aside)]
    assert found == [
        ("run/epoch=2.ckpt", True),
        ("run/epoch=10.ckpt", False),
        ("gone.ckpt", True),
        ("https://a.example/x", True),
    ]
    assert aside == []


def test_what_is_passed_over_is_said_of_each_folder(tmp_path: Path) -> None:
    given = tmp_path / "given"
    for name in ("given/a.ckpt", "given/__MACOSX/b.ckpt", "other/c.ckpt", "bare/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (given / "inside.ckpt").symlink_to("a.ckpt")
    (given / "outside.ckpt").symlink_to(tmp_path / "other" / "c.ckpt")
    aside: list[Aside] = []
    targets = targets_of([str(given), str(tmp_path / "bare")], "stay", aside)
    assert [os.path.basename(target.path) for target in targets] == ["a.ckpt", "inside.ckpt"]
    endings = ".ckpt, .pt, .pth, .bin, .pkl, .pth.tar, .pt.tar, .ckpt.tar, .safetensors, "
    endings += ".safetensors.index.json, .bin.index.json"
    assert [*map(tuple, aside)] == [
        (str(given / "outside.ckpt"), "a link out of the folder, which is not followed (--follow)"),
        (str(given), "resource files that a Mac left are skipped: 1"),
        (str(tmp_path / "bare"), f"no checkpoint below this folder (looked for {endings})"),
    ]
    followed = [os.path.basename(target.path) for target in targets_of([str(given)], "follow", [])]
    assert followed == ["a.ckpt", "inside.ckpt", "outside.ckpt"]


def test_an_address_with_a_slash_is_a_folder_of_objects_where_there_are_such(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def objects_below(address: str, aside: list[Aside]) -> Iterator[Target]:
        asked.append(address)
        aside.append(Aside(address, "seen"))
        yield Target(f"{address}a.ckpt", named=False)

    monkeypatch.setattr(listing, "objects_below", objects_below)
    aside: list[Aside] = []
    paths = ["s3://bucket/runs/", "HF://org/repo/", "s3://bucket/b.ckpt", "https://a.example/c/"]
    assert [(target.path, target.named) for target in targets_of(paths, "stay", aside)] == [
        ("s3://bucket/runs/a.ckpt", False),
        ("HF://org/repo/a.ckpt", False),
        ("s3://bucket/b.ckpt", True),
        ("https://a.example/c/", True),
    ]
    assert [row.file for row in aside] == asked == paths[:2]


def test_targets_are_counted_before_the_first_is_judged_and_come_as_they_are() -> None:
    targets = [Target("a\udcff.ckpt", True, size=3, modified_ns=5, inode=7, mark="m"), Target("b.ckpt", False)]
    with TargetSpool(iter(targets)) as spool:
        assert spool.count == 2
        assert [*spool] == [*spool] == targets
