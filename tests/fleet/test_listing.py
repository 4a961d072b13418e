"""Lists of paths: each is read to its end, from a regular file, and what is no list is one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import viscy_compat as vc
from support.folders import close_folders
from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside
from viscy_compat.fleet.listing import expand_lists, rooms_of, targets_of


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
