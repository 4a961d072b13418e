"""What is copied as it is, and what that verifies."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from zlib import crc32

import pytest

from support.assembly import mapping, storage, tensor, zipped
from support.files import floats, torch_file
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.rewrite import copies
from viscy_compat.rewrite.copies import Portion, copy_portions, extent_of_storage, extent_of_tensor
from viscy_compat.rewrite.output import open_output

SIZES = [70_000, 3, 0, 9_001]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    torch_file(tmp_path / "old.ckpt", SIZES)
    return open_checkpoint(str(tmp_path / "old.ckpt"))


def parts_of(checkpoint: Checkpoint, first: int, *, needs_crc: bool) -> list[Portion]:
    """Every second tensor in chunks, the others as extents."""
    parts = []
    for number, stored in enumerate(checkpoint.tensors.values()):
        extent = extent_of_tensor(stored) if number % 2 else None
        chunks = lambda reader, stored=stored: reader.chunks(stored, size=1000)  # noqa: E731
        parts.append(Portion(first, stored.nbytes, chunks, extent=extent, needs_crc=needs_crc))
        first += stored.nbytes
    return parts


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("first", [0, 1, 4096, 5000])
def test_every_part_has_its_place_and_its_crc(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, threads: int
) -> None:
    monkeypatch.setattr(copies, "SLICE", 10_000)
    monkeypatch.setattr(copies, "BLOCK", 8192)
    with open_output(str(tmp_path / "new"), "refuse") as output:
        crcs = copy_portions(parts_of(checkpoint, first, needs_crc=True), output, checkpoint, threads=threads)
        output.commit()
    data = [floats(seed, size) for seed, size in enumerate(SIZES)]
    assert (tmp_path / "new").read_bytes() == bytes(first) + b"".join(data)
    assert crcs == [crc32(one) for one in data]


def test_without_need_only_whole_storages_with_a_crc_are_summed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with open_output(str(tmp_path / "new"), "refuse") as output:
        crcs = copy_portions(parts_of(checkpoint, 0, needs_crc=False), output, checkpoint, threads=1)
    assert crcs == [0, crc32(floats(1, 3)), 0, crc32(floats(3, 9_001))]


def test_the_first_damaged_storage_is_named_whichever_thread_came_first(tmp_path: Path) -> None:
    torch_file(tmp_path / "old.ckpt", [70_000, 70_000, 5])
    data = bytearray((tmp_path / "old.ckpt").read_bytes())
    for seed in (1, 0):
        data[data.index(struct.pack("<2f", 1000 * seed, 1000 * seed + 1)) + 4 * 600] ^= 1
    (tmp_path / "old.ckpt").write_bytes(data)
    checkpoint = open_checkpoint(str(tmp_path / "old.ckpt"))
    rows = [(stored, extent_of_tensor(stored)) for stored in checkpoint.tensors.values()]
    parts = [Portion(0, stored.nbytes, lambda _: iter(()), extent=extent, needs_crc=False) for stored, extent in rows]
    with (
        pytest.raises(UnreadableCheckpoint, match="data/0 is damaged") as caught,
        open_output(str(tmp_path / "new"), "refuse") as output,
    ):
        copy_portions(parts, output, checkpoint, threads=2)
    assert caught.value.code == "VC414"


def test_a_source_that_is_cut_meanwhile_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    parts = parts_of(checkpoint, 0, needs_crc=False)
    os.truncate(tmp_path / "old.ckpt", os.path.getsize(tmp_path / "old.ckpt") - 5000)
    with (
        pytest.raises(UnreadableCheckpoint, match="changed while it was read"),
        open_output(str(tmp_path / "new"), "refuse") as output,
    ):
        copy_portions(parts, output, checkpoint, threads=2)


def test_a_view_in_one_piece_is_an_extent_and_a_strided_one_is_none(tmp_path: Path) -> None:
    shared = storage("0", elements=12)
    entries = {"rows": tensor((2, 3), (3, 1), 6, of=shared), "turned": tensor((3, 4), (1, 3), of=shared)}
    (tmp_path / "views.ckpt").write_bytes(zipped(mapping(entries), {"0": floats(1, 12)}))
    stored = open_checkpoint(str(tmp_path / "views.ckpt")).tensors
    extent = extent_of_tensor(stored["rows"])
    assert extent is not None
    assert (extent.first, extent.nbytes, extent.is_whole) == (24, 24, False)
    assert extent_of_tensor(stored["turned"]) is None
    whole = extent_of_storage(stored["rows"].storage)
    assert whole is not None
    assert whole.is_whole


def test_elements_that_must_be_turned_are_no_extent_and_bytes_are(checkpoint: Checkpoint) -> None:
    stored = checkpoint.tensors["t.0"]
    stored.storage.byte_order = "big"
    assert extent_of_tensor(stored) is None
    assert extent_of_storage(stored.storage) is not None


def test_compressed_and_distant_bytes_are_no_extent(checkpoint: Checkpoint) -> None:
    there = checkpoint.tensors["t.0"].storage
    there.compressed = True
    assert extent_of_storage(there) is None
    there.compressed = False
    there.file = there.file._replace(path="https://example.org/a.ckpt")
    assert extent_of_storage(there) is None
