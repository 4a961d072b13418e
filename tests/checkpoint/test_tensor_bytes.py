"""A compressed storage is unpacked once, to the disc, however many tensors look into it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from support.assembly import Record, archive, mapping, pickled, records, storage, tensor
from viscy_compat.checkpoint import open_checkpoint, tensor_bytes, zeros
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, with_limits
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.zeros import absence_of_weights
from viscy_compat.cli import main
from viscy_compat.errors import UnreadableCheckpoint, UsageError

BYTES = bytes(range(240))
VIEWS = 20


def written(path: Path, *, method: int, crc: int | None = None) -> Path:
    """A file with one storage of 60 floats, and twenty tensors that each look at another part of it."""
    held = storage(elements=60)
    views = {f"v{place}": tensor((2, 1), (1, 1), place, of=held) for place in range(VIEWS)}
    rows: list[Record] = records(pickled(mapping(views)), {"0": BYTES})
    rows = [row._replace(method=method, crc=crc) if row.name.endswith("data/0") else row for row in rows]
    path.write_bytes(archive(rows))
    return path


def read(path: Path) -> dict[str, bytes]:
    checkpoint = open_checkpoint(str(path))
    with TensorReader(checkpoint) as reader:
        return {key: b"".join(reader.chunks(tensor)) for key, tensor in checkpoint.tensors.items()}


def test_every_view_of_a_compressed_storage_has_the_bytes_of_the_stored_one(tmp_path: Path) -> None:
    packed = read(written(tmp_path / "packed.ckpt", method=8))
    assert packed == read(written(tmp_path / "stored.ckpt", method=0))
    assert packed["v3"] == BYTES[12:20]


def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows whenever something is unpacked."""
    unpacked: list[int] = []
    make = zlib.decompressobj

    def counted(bits: int) -> Any:
        unpacked.append(bits)
        return make(bits)

    monkeypatch.setattr(zlib, "decompressobj", counted)
    return unpacked


def test_a_compressed_storage_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = unpackings(monkeypatch)
    assert len(read(written(tmp_path / "packed.ckpt", method=8))) == VIEWS
    assert len(unpacked) == 1


@pytest.mark.parametrize("command", ["diff FILE FILE", "remap FILE --against FILE -o new.ckpt --force"])
def test_more_views_unpack_a_storage_no_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    counts = []
    for views in (3, 30):
        # each is the whole of the storage
        held = storage("0", elements=len(BYTES) // 4)
        whole = tensor((len(BYTES) // 4,), (1,), of=held)
        rows = records(pickled(mapping({f"v{place}": whole for place in range(views)})), {"0": BYTES})
        rows = [row._replace(method=8) if row.name.endswith("data/0") else row for row in rows]
        file = tmp_path / f"{views}.ckpt"
        file.write_bytes(archive(rows))
        monkeypatch.chdir(tmp_path)
        with monkeypatch.context() as patch:
            unpacked = unpackings(patch)
            assert main(command.replace("FILE", file.name).split()) == 0
        counts.append(len(unpacked))
    assert counts[0] == counts[1]


def test_storages_that_are_unpacked_leave_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_bytes, "_UNPACKED", 2)
    views = {
        f"v{place}.{part}": tensor((2,), (1,), part, of=storage(str(place), elements=4))
        for part in range(2)
        for place in range(5)
    }
    data = {str(place): struct.pack("<4f", *range(place, place + 4)) for place in range(5)}
    rows = [row._replace(method=8) if "/data/" in row.name else row for row in records(pickled(mapping(views)), data)]
    (tmp_path / "packed.ckpt").write_bytes(archive(rows))
    found = read(tmp_path / "packed.ckpt")
    assert found["v4.1"] == struct.pack("<2f", 5, 6)
    assert found["v0.0"] == struct.pack("<2f", 0, 1)


def test_what_was_unpacked_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert read(written(tmp_path / "packed.ckpt", method=8))
    assert list(place.iterdir()) == []


def test_a_damaged_compressed_storage_is_refused_by_each_view(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(written(tmp_path / "packed.ckpt", method=8, crc=1)))
    with TensorReader(checkpoint) as reader:
        for key in ("v1", "v2"):
            with pytest.raises(UnreadableCheckpoint, match="CRC-32") as caught:
                list(reader.chunks(checkpoint.tensors[key]))
            assert caught.value.code == "VC414"


@pytest.mark.parametrize("value", ["9" * 5000, "9" * 19, "0", "-1", "1e3"])
def test_a_limit_is_a_number_that_a_machine_holds(value: str) -> None:
    with pytest.raises(UsageError, match="is no limit"):
        with_limits([f"rank={value}"])
    assert with_limits(["rank=" + "9" * 18]).rank > DEFAULT_LIMITS.rank


def test_a_large_compressed_storage_is_not_unpacked_to_look_for_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MB are unpacked for it; a bomb of a gigabyte took nine seconds."""
    path = tmp_path / "packed.ckpt"
    held = storage(elements=60)
    rows = records(pickled(mapping({"w": tensor((30, 2), (2, 1), 0, of=held)})), {"0": bytes(240)})
    path.write_bytes(archive([row._replace(method=8) if row.name.endswith("data/0") else row for row in rows]))
    assert absence_of_weights(open_checkpoint(str(path))) == "zeros"
    monkeypatch.setattr(zeros, "_MOST_UNPACKED", 239)
    assert absence_of_weights(open_checkpoint(str(path))) == "none"
