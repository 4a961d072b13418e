"""A target that must not be written to is refused before anything is touched; leftovers are swept, living runs are not."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.errors import OutputRefused
from viscy_compat.rewrite.output import ENDING, IfExists, open_output, sweep


def written(path: Path, existing: IfExists = "refuse", inputs: tuple[FileFacts, ...] = ()) -> None:
    with open_output(str(path), existing, inputs=inputs) as output:
        output.write(b"new")
        output.sync()
        output.commit()


def facts(path: Path) -> FileFacts:
    with ByteSource(str(path)) as source:
        return source.facts


def refused(path: Path, existing: IfExists, inputs: tuple[FileFacts, ...] = ()) -> str:
    before = snapshot(path.parent) if path.parent.is_dir() else {}
    with pytest.raises(OutputRefused) as caught:
        written(path, existing, inputs)
    assert not path.parent.is_dir() or snapshot(path.parent) == before
    return str(caught.value)


def snapshot(folder: Path) -> dict[str, object]:
    return {entry.name: (entry.lstat().st_ino, entry.lstat().st_size) for entry in folder.iterdir()}


def test_a_new_file_appears_whole_and_nothing_else(tmp_path: Path) -> None:
    written(tmp_path / "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new").read_bytes() == b"new"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    assert "exists; choose another name, or --force" in refused(tmp_path / "old", "refuse")
    written(tmp_path / "old", "overwrite")
    assert (tmp_path / "old").read_bytes() == b"new"


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "back up"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("folder", "this is a folder"),
        ("fifo", "this is a fifo"),
        ("link", "this is a symbolic link"),
        ("dangling link", "this is a symbolic link"),
    ],
)
def test_what_is_no_regular_file_is_refused_with_and_without_force(
    tmp_path: Path, kind: str, words: str, existing: IfExists
) -> None:
    target = tmp_path / "target"
    (tmp_path / "real").write_bytes(b"real")
    if kind == "folder":
        target.mkdir()
    elif kind == "fifo":
        os.mkfifo(target)
    else:
        target.symlink_to(tmp_path / ("real" if kind == "link" else "nowhere"))
    assert words in refused(target, existing)
    assert (tmp_path / "real").read_bytes() == b"real"


def test_a_device_is_refused() -> None:
    with pytest.raises(OutputRefused, match="a device or socket"):
        written(Path("/dev/null"), "overwrite")


def test_the_input_itself_and_its_hard_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"in")
    os.link(tmp_path / "input", tmp_path / "again")
    inputs = (facts(tmp_path / "input"),)
    for name in ("input", "again"):
        assert "the output is the input itself" in refused(tmp_path / name, "overwrite", inputs)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'no'}: there is no such folder" in refused(tmp_path / "no" / "file", "refuse")


@pytest.mark.parametrize(("name", "why"), [("x" * 300, "File name too long"), ("nul\0byte", "embedded null byte")])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, why: str) -> None:
    said = f"{tmp_path / name}: no file can be there ({why}); choose another name"
    assert refused(tmp_path / name, "refuse") == said


def test_a_long_name_still_gets_a_temporary_one(tmp_path: Path) -> None:
    written(tmp_path / ("x" * 255))
    assert len(list(tmp_path.iterdir())) == 1


def test_in_place_keeps_the_original_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"old")
    before = (tmp_path / "a.ckpt").stat().st_ino
    written(tmp_path / "a.ckpt", "back up", (facts(tmp_path / "a.ckpt"),))
    assert (tmp_path / "a.ckpt").read_bytes() == b"new"
    assert (tmp_path / "a.ckpt.bak").read_bytes() == b"old"
    assert (tmp_path / "a.ckpt.bak").stat().st_ino == before


def test_a_backup_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a.bak").write_bytes(b"older")
    assert "the backup exists, and is never overwritten" in refused(tmp_path / "a", "back up")
    assert (tmp_path / "a.bak").read_bytes() == b"older"


def test_a_backup_that_a_killed_run_made_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "a.bak")
    written(tmp_path / "a", "back up")
    assert (tmp_path / "a.bak").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def race() -> None:
        with open_output(str(tmp_path / "a"), "refuse") as output:
            output.write(b"mine")
            (tmp_path / "a").write_bytes(b"theirs")
            output.commit()

    with pytest.raises(OutputRefused, match="the file exists"):
        race()
    assert snapshot(tmp_path).keys() == {"a"}
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_without_hard_links_the_place_is_still_taken_only_while_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    written(tmp_path / "a")
    assert "exists" in refused(tmp_path / "a", "refuse")
    written(tmp_path / "a", "back up")
    assert snapshot(tmp_path).keys() == {"a", "a.bak"}


def test_leftovers_of_dead_runs_are_swept_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / f".dead.0123{ENDING}").write_bytes(b"half")
    (tmp_path / f"visible{ENDING}").write_bytes(b"somebody's own")
    (tmp_path / f".link{ENDING}").symlink_to(tmp_path / f"visible{ENDING}")
    with open_output(str(tmp_path / "slow"), "refuse") as living:
        living.write(b"half")
        written(tmp_path / "quick")
        assert os.path.exists(living.temporary)
        assert not (tmp_path / f".dead.0123{ENDING}").exists()
        living.commit()
    assert snapshot(tmp_path).keys() == {"slow", "quick", f"visible{ENDING}", f".link{ENDING}"}


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> None:
        with open_output(str(tmp_path / "a"), "refuse") as output:
            output.write(b"half")
            raise KeyError("whatever")

    with pytest.raises(KeyError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_what_the_disc_refuses_while_a_file_grows_is_said_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells such an error once, to whoever waits for the disc first: here to the thread that settles."""
    told, fsync = threading.Event(), os.fsync

    def refused_once(descriptor: int) -> None:
        if told.is_set():
            return fsync(descriptor)
        told.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("viscy_compat.rewrite.disc_sync.STRIDE", 1)
    monkeypatch.setattr(os, "fsync", refused_once)

    def grow() -> None:
        with open_output(str(tmp_path / "new"), "refuse") as output:
            output.settle()
            output.write(b"new")
            assert told.wait(600)
            output.sync()
            output.commit()

    with pytest.raises(OutputRefused, match="Input/output error; nothing was written"):
        grow()
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_put_before_others_are_brought_to_the_disc_meanwhile_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headers of a torch file are written first, up to its end, and the bytes of its tensors between them."""
    asked, fsync = threading.Event(), os.fsync

    def noted(descriptor: int) -> None:
        asked.set()
        fsync(descriptor)

    monkeypatch.setattr("viscy_compat.rewrite.disc_sync.STRIDE", 1)
    monkeypatch.setattr(os, "fsync", noted)
    with open_output(str(tmp_path / "new"), "refuse") as output:
        output.settle()
        for position in (100, 0):
            asked.clear()
            output.write_at(position, b"new")
            assert asked.wait(60)


def test_sweeping_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert sweep(str(tmp_path / "no")) == []


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
@pytest.mark.parametrize(
    ("source", "umask", "expected"),
    [(0o600, 0o022, 0o600), (0o640, 0o022, 0o640), (0o644, 0o077, 0o600), (0o666, 0o002, 0o664), (0o400, 0o022, 0o600)],
)
def test_a_new_file_is_read_by_nobody_who_may_not_read_its_source(
    tmp_path: Path, source: int, umask: int, expected: int
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    old.chmod(source)
    before = os.umask(umask)
    try:
        written(new, "refuse", (facts(old),))
    finally:
        os.umask(before)
    assert new.stat().st_mode & 0o777 == expected


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o440])
def test_in_place_keeps_mode_and_owner(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(mode)
    owner = path.stat().st_uid, path.stat().st_gid
    written(path, "back up", (facts(path),))
    assert path.read_bytes() == b"new"
    for file in (path, tmp_path / "old.bak"):
        assert file.stat().st_mode & 0o777 == mode
        assert (file.stat().st_uid, file.stat().st_gid) == owner


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_the_temporary_file_is_never_more_open_than_the_new_one(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o600)
    with open_output(str(tmp_path / "new"), "refuse", inputs=(facts(old),)) as output:
        assert Path(output.temporary).stat().st_mode & 0o777 == 0o600


def test_a_name_as_long_as_the_file_system_takes_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("\N{MICROSCOPE}" * 60 + ".safetensors")  # 240 bytes and 12
    with open_output(str(target), "refuse") as output:
        output.write(b"whole")
        output.commit()
    assert target.read_bytes() == b"whole"
