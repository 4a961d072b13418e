"""How little of a file is read, and that what was kept is what the file holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.assembly import FLOATS, archive, mapping, pickled, records, storage, tensor
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.reading import read_open
from viscy_compat.errors import UnreadableCheckpoint


class Counted(ByteSource):
    """Counts how often the system is asked."""

    def __init__(self, path: str) -> None:
        self.reads: list[tuple[int, int]] = []
        super().__init__(path)

    def __enter__(self) -> Counted:
        return self

    def _read_some(self, start: int, length: int) -> bytes:
        part = super()._read_some(start, length)
        self.reads.append((start, len(part)))
        return part


def trained(path: Path, count: int, size: int) -> None:
    """Write a torch file with `count` tensors of `size` bytes."""
    elements = size // 4
    entries = {
        f"l.{index}.weight": tensor((elements,), (1,), of=storage(str(index), FLOATS, elements))
        for index in range(count)
    }
    path.write_bytes(archive(records(pickled(mapping(entries)), {str(index): bytes(size) for index in range(count)})))


def test_a_file_of_750_tensors_is_read_in_five_pieces(tmp_path: Path) -> None:
    trained(tmp_path / "a.ckpt", 750, 20_000)
    with Counted(str(tmp_path / "a.ckpt")) as source:
        assert len(read_open(source, DEFAULT_LIMITS, None).tensors) == 750
    assert len(source.reads) <= 5
    assert sum(length for _, length in source.reads) < 250_000


def test_a_small_file_is_read_once(tmp_path: Path) -> None:
    trained(tmp_path / "a.ckpt", 3, 400)
    with Counted(str(tmp_path / "a.ckpt")) as source:
        assert len(read_open(source, DEFAULT_LIMITS, None).tensors) == 3
    assert source.reads == [(0, source.size)]


def test_what_was_kept_is_what_the_file_holds(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    (tmp_path / "a").write_bytes(content)
    with Counted(str(tmp_path / "a")) as source:
        source.keep(100, 200)
        for start, length in ((100, 200), (150, 10), (299, 1), (300, 0), (90, 20), (290, 20), (0, 1024)):
            assert source.read(start, length) == content[start : start + length]
        assert [row for row in source.reads if row[0] >= 100 and sum(row) <= 300] == [(100, 200)]


def test_a_window_keeps_bytes_of_its_own(tmp_path: Path) -> None:
    content = bytes(range(200))
    (tmp_path / "a").write_bytes(content)
    with ByteSource(str(tmp_path / "a")) as source:
        window = ByteWindow(source, 50, 100)
        window.keep(10, 20)
        assert window.has_kept(10, 20)
        assert not window.has_kept(9, 20)
        assert window.read(12, 5) == content[62:67]


def test_bytes_beyond_the_end_are_refused_whatever_was_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with ByteSource(str(tmp_path / "a")) as source:
        source.keep(0, 3)
        with pytest.raises(UnreadableCheckpoint, match="the file ends at byte 3"):
            source.read(2, 2)


def test_whether_weights_are_zero_takes_one_read_of_an_honest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.layouts import hollow
    from viscy_compat.checkpoint import open_checkpoint, tensor_bytes
    from viscy_compat.checkpoint.zeros import absence_of_weights
    from viscy_compat.layout import TensorSpec

    path = hollow(tmp_path / "a.safetensors", {f"{index}.weight": TensorSpec((64, 64)) for index in range(40)})
    opened: list[Counted] = []

    def counted(path: str, **_: object) -> Counted:
        opened.append(Counted(path))
        return opened[-1]

    monkeypatch.setattr(tensor_bytes, "open_source", counted)
    assert absence_of_weights(open_checkpoint(str(path))) == "none"
    assert [len(source.reads) for source in opened] == [1]


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
def test_bytes_that_come_in_short_reads_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    (tmp_path / "a").write_bytes(bytes(range(200)))
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, views, start: real(descriptor, [views[0][:most]], start))
    memory = bytearray(b"-" * 50)
    with ByteSource(str(tmp_path / "a")) as source:
        source.read_into(memoryview(memory)[10:40], 100)
        assert source.bytes_read == 30
    assert memory == b"-" * 10 + bytes(range(100, 130)) + b"-" * 10


def test_without_preadv_the_memory_is_filled_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(range(200)))
    monkeypatch.delattr(os, "preadv")
    memory = bytearray(30)
    with ByteSource(str(tmp_path / "a")) as source:
        source.read_into(memoryview(memory), 100)
    assert memory == bytes(range(100, 130))


def test_memory_beyond_the_end_is_refused_and_a_file_that_is_cut_meanwhile_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    with ByteSource(str(tmp_path / "a")) as source:
        with pytest.raises(UnreadableCheckpoint) as caught:
            source.read_into(memoryview(bytearray(20)), 81)
        assert caught.value.code == "VC403"
        os.truncate(tmp_path / "a", 50)
        with pytest.raises(UnreadableCheckpoint) as caught:
            source.read_into(memoryview(bytearray(20)), 40)
        assert caught.value.code == "VC402"
