"""Files beyond 4 GiB, and what a checkpoint costs to read: sparse files stand for large ones."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from support.assembly import FLOATS, NUMBERS, mapping, number, numbers, pickled, safetensors, storage, tensor
from support.huge import ELEMENTS, zip64
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.reading import read_open
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint


def test_a_storage_of_more_than_4_gib_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.pt"
    zip64(path)
    checkpoint = open_checkpoint(str(path))
    assert checkpoint.tensors["big"].nbytes == 4 * ELEMENTS > 1 << 32
    assert checkpoint.storages["a/data/0"].crc is None
    with TensorReader(checkpoint) as reader:
        for key in ("last", "small"):
            assert b"".join(reader.chunks(checkpoint.tensors[key])) == NUMBERS
        assert reader.locate(checkpoint.storages["a/data/1"]) > 4 * ELEMENTS


@pytest.mark.torch
def test_torch_reads_the_same_from_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "big.pt"
    zip64(path)
    state = torch.load(path, mmap=True, weights_only=True)
    assert list(state) == list(open_checkpoint(str(path)).tensors)
    assert state["last"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["big"].shape == (ELEMENTS,)


def test_a_safetensors_file_of_more_than_4_gib_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    size = 4 * ELEMENTS
    header = {
        "big": {"dtype": "F32", "shape": [ELEMENTS], "data_offsets": [0, size]},
        "last": {"dtype": "F32", "shape": [6], "data_offsets": [size, size + 24]},
    }
    with path.open("wb") as file:
        file.write(safetensors(header, b""))
        file.seek(size, os.SEEK_CUR)
        file.write(NUMBERS)
    checkpoint = open_checkpoint(str(path))
    with TensorReader(checkpoint) as reader:
        assert b"".join(reader.chunks(checkpoint.tensors["last"])) == NUMBERS


def many(count: int, size: int) -> dict[str, bytes]:
    return {f"{index}": bytes(size) for index in range(count)}


@pytest.mark.parametrize(("count", "size"), [(200, 40_000), (600, 20_000), (2_000, 400)])
def test_only_the_pickle_the_directory_and_72_kib_more_are_read(tmp_path: Path, count: int, size: int) -> None:
    from support.assembly import archive, records

    shape = size // 4
    pickle = pickled(
        mapping(
            {
                f"stages.{index}.weight": tensor((shape,), (1,), of=storage(str(index), FLOATS, shape))
                for index in range(count)
            }
        )
    )
    content = archive(records(pickle, many(count, size)))
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    directory = len(content) - content.index(b"PK\x01\x02")
    with ByteSource(str(path)) as source:
        assert len(read_open(source, DEFAULT_LIMITS, None).tensors) == count
        assert source.bytes_read <= len(pickle) + directory + 72 * 1024


def test_each_limit_stops_a_file_that_goes_beyond_it_and_can_be_raised(tmp_path: Path) -> None:
    from support.assembly import state, zipped

    path = tmp_path / "a.pt"
    path.write_bytes(zipped(state(b=tensor(), n=number(3), s=numbers(1, 2))))
    small = {
        "opcodes": 50,
        "pickle_bytes": 100,
        "memo": -1,
        "depth": 1,
        "string": 3,
        "entries": 3,
        "directory_bytes": 100,
        "rank": 1,
        "tensors": 1,
        "key": 0,
    }
    assert open_checkpoint(str(path))
    for name, value in small.items():
        limits = DEFAULT_LIMITS._replace(**{name: value})
        try:
            checkpoint = open_checkpoint(str(path), limits=limits)
        except UnreadableCheckpoint as error:
            codes = {error.code}
        else:
            codes = {finding.code for finding in checkpoint.findings}
        assert codes == {"VC404"}, name


def test_crcs_of_every_record_are_told(tmp_path: Path) -> None:
    from support.assembly import state, zipped

    path = tmp_path / "a.pt"
    path.write_bytes(zipped(state()))
    checkpoint = open_checkpoint(str(path))
    assert checkpoint.records["archive/data/0"].crc == zlib.crc32(NUMBERS)
    assert checkpoint.checked_crcs == ("archive/data.pkl",)
