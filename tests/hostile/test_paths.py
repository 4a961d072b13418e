"""Odd paths and files that change: each gets its code, and nothing waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hostile.generator import HONEST, HONEST_LIGHTNING
from support.files import renaming_plan, torch_file
from viscy_compat import remap
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint


def missing(folder: Path) -> Path:
    return folder / "nothing.ckpt"


def a_folder(folder: Path) -> Path:
    return folder


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def device(folder: Path) -> Path:
    return Path("/dev/zero")


def null(folder: Path) -> Path:
    return Path("/dev/null")


def a_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(folder / "s"))
    return folder / "s"


def looping_link(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(HONEST)
    return folder / "file" / "x"


def endless_name(folder: Path) -> Path:
    return folder / ("a" * 5000)


PLACES = [missing, a_folder, fifo, device, null, a_socket, looping_link, below_a_file, endless_name]


@pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])
def test_what_is_no_file_is_called_by_its_name(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(place(tmp_path)))
    assert caught.value.code == "VC401"
    assert caught.value.fix


@pytest.mark.parametrize("path", ["", "a\0b", "\udcff"])
def test_names_that_no_file_can_have_are_refused(path: str) -> None:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(path)
    assert caught.value.code == "VC401"


@pytest.mark.parametrize("name", ["epoch=399-step=23200.ckpt", "a b\n\x1b[31m.ckpt", "-rf", "ключ.pt", "a.txt"])
def test_odd_names_of_honest_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HONEST)
    assert list(open_checkpoint(str(tmp_path / name)).tensors) == ["w"]


def test_a_sparse_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.ckpt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnreadableCheckpoint, match="zeros") as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC406"


def test_a_sparse_terabyte_with_a_head_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.ckpt"
    with path.open("wb") as file:
        file.write(HONEST)
        file.truncate(1 << 40)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC403"


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(HONEST)
    with ByteSource(str(path)) as source:
        path.write_bytes(HONEST[:100])
        with pytest.raises(UnreadableCheckpoint) as caught:
            source.read(0, len(HONEST))
    assert caught.value.code == "VC402"


def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(HONEST)
    with ByteSource(str(path)) as source:
        with path.open("ab") as file:
            file.write(b"x")
        with pytest.raises(UnreadableCheckpoint) as caught:
            source.verify_unchanged()
    assert caught.value.code == "VC402"


def test_bytes_are_not_taken_from_another_file_of_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(HONEST)
    checkpoint = open_checkpoint(str(path))
    path.unlink()
    path.write_bytes(HONEST_LIGHTNING)
    with pytest.raises(UnreadableCheckpoint) as caught, TensorReader(checkpoint) as reader:
        reader.digest(checkpoint.tensors["w"])
    assert caught.value.code == "VC402"


def test_reading_without_pread_gives_the_same(tmp_path: Path) -> None:
    """Windows has no pread: seek and read take its place."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(HONEST)
    program = (
        "import os, sys; del os.pread\n"
        "from viscy_compat.checkpoint import open_checkpoint\n"
        "from viscy_compat.checkpoint.tensor_bytes import TensorReader\n"
        "checkpoint = open_checkpoint(sys.argv[1])\n"
        "with TensorReader(checkpoint) as reader: print(reader.digest(checkpoint.tensors['w']))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    checkpoint = open_checkpoint(str(path))
    with TensorReader(checkpoint) as reader:
        assert done.stdout.strip() == reader.digest(checkpoint.tensors["w"])


def test_writing_without_pwrite_gives_the_same(tmp_path: Path) -> None:
    """Windows has neither pread nor pwrite: a large file is then written by one thread."""
    path, plan = tmp_path / "a.ckpt", tmp_path / "plan.json"
    torch_file(path, [70_000, 3])
    renaming_plan(plan, [70_000, 3])
    program = (
        "import os, sys; del os.pread, os.pwrite, os.preadv\n"
        "from viscy_compat.rewrite import write\n"
        "write.WORTHWHILE = 0\n"
        "from viscy_compat import remap\n"
        "assert remap(sys.argv[1], sys.argv[2], plan=sys.argv[3])"
    )
    for ending in (".safetensors", ".ckpt"):
        here, there = tmp_path / f"here{ending}", tmp_path / f"there{ending}"
        assert remap(path, here, plan=plan)
        subprocess.run([sys.executable, "-c", program, str(path), str(there), str(plan)], check=True)
        assert there.read_bytes() == here.read_bytes()
