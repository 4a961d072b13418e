"""Files of the right layout that hold zeros are told from real ones by little of what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import NUMBERS, archive, mapping, pickled, records, storage, tensor
from viscy_compat.checkpoint import byte_source, open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint, Storage
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.zeros import absence_of_weights, lacks_its_sums
from viscy_compat.checkpoint.zip_archive import LOCAL
from viscy_compat.gating.check import hollow
from viscy_compat.layout import Layout, TensorSpec

LAYOUT = {f"t{place}": TensorSpec((1000, 1000 + place)) for place in range(3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    hollow(str(tmp_path / "a.safetensors"), LAYOUT)
    return tmp_path / "a.safetensors"


def test_less_than_four_megabytes_are_read_of_zeros(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = byte_source._read_at
    amounts: list[int] = []

    def counted(descriptor: int, length: int, start: int) -> bytes:
        amounts.append(length)
        return bytes(read(descriptor, length, start))

    monkeypatch.setattr(byte_source, "_read_at", counted)
    assert absence_of_weights(open_checkpoint(str(path))) == "zeros"
    assert sum(amounts) < 4_000_000


def test_one_number_in_the_largest_tensor_is_seen(path: Path) -> None:
    """The two before it are larger than what is looked at as a whole."""
    with path.open("r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start + sum(4 * spec.elements for spec in list(LAYOUT.values())[:2]) + 40)
        file.write(b"\x01")
    assert absence_of_weights(open_checkpoint(str(path))) == "none"


def torch_file(path: Path, count: int, numbers: dict[int, bytes]) -> Path:
    """So many matrices of zeros with a CRC-32 each, but for those that are given."""
    zeros = bytes(len(NUMBERS))
    entries = {f"t{place}": tensor(of=storage(str(place))) for place in range(count)}
    data = {str(place): numbers.get(place, zeros) for place in range(count)}
    path.write_bytes(archive(records(pickled(mapping(entries)), data)))
    return path


def test_a_stated_sum_says_without_a_look_that_a_weight_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(torch_file(tmp_path / "a.ckpt", 3, {2: NUMBERS})))
    monkeypatch.setattr(byte_source, "_read_at", None)
    assert absence_of_weights(checkpoint) == "none"


def test_of_many_whose_sums_are_those_of_zeros_the_first_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(torch_file(tmp_path / "a.ckpt", 700, {})))
    names: list[str] = []
    locate = TensorReader.locate

    def noted(self: TensorReader, each: Storage) -> int:
        names.append(each.name)
        return locate(self, each)

    monkeypatch.setattr(TensorReader, "locate", noted)
    assert absence_of_weights(checkpoint) == "zeros"
    assert len(names) == 512


def test_a_sum_of_zeros_that_a_weight_does_not_have_is_noticed(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "a.ckpt", 700, {})
    checkpoint = open_checkpoint(str(path))
    last = next(entry for entry in checkpoint.records.values() if entry.name.endswith("/511")).entry
    assert last is not None
    content = path.read_bytes()
    start = last.header + LOCAL.size + len(last.name)
    path.write_bytes(content[:start] + b"\x01" + content[start + 1 :])
    assert absence_of_weights(open_checkpoint(str(path))) == "none"


def test_without_sums_all_of_many_small_weights_are_looked_at(tmp_path: Path) -> None:
    layout = {f"t{place}": TensorSpec((2, 3)) for place in range(700)}
    path = tmp_path / "a.safetensors"
    hollow(str(path), layout)
    assert absence_of_weights(open_checkpoint(str(path))) == "zeros"
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert absence_of_weights(open_checkpoint(str(path))) == "none"


def filled(path: Path, layout: Layout, names: tuple[str, ...]) -> str:
    """A file of zeros but for the last byte of some tensors."""
    hollow(str(path), layout)
    tensors = open_checkpoint(str(path)).tensors
    with path.open("r+b") as file:
        for name in names:
            file.seek(tensors[name].storage.start + tensors[name].nbytes - 1)
            file.write(b"\x01")
    return str(path)


FLAT, CUBE = TensorSpec((2, 3)), TensorSpec((2, 3, 4))
VECTOR, COUNTS = TensorSpec((5,)), TensorSpec((2, 3), "int64")


@pytest.mark.parametrize(
    ("layout", "names", "absence"),
    [
        # numbers of batches and other integers are no weights, and vectors begin as zeros
        ({"w": FLAT, "n": COUNTS, "b": VECTOR}, ("n", "b"), "zeros"),
        ({"w": FLAT, "b": VECTOR}, ("w",), "none"),
        ({"c": CUBE, "w": FLAT}, ("w",), "none"),
        ({"w": FLAT, "c": CUBE}, ("c",), "none"),
        ({"w": TensorSpec((1, 3)), "c": CUBE}, ("w",), "none"),
        # where there is nothing else, vectors are the weights
        ({"b": VECTOR, "n": COUNTS}, ("n",), "zeros"),
        ({"b": VECTOR, "n": COUNTS}, ("b",), "none"),
        ({"b": VECTOR, "a": VECTOR}, ("a",), "none"),
        ({"w": FLAT, "empty": TensorSpec((0, 3))}, (), "zeros"),
        ({"n": COUNTS}, (), "none"),
    ],
)
def test_weights_are_floats_of_two_dimensions_and_more_where_there_are_such(
    layout: Layout, names: tuple[str, ...], absence: str, tmp_path: Path
) -> None:
    assert absence_of_weights(open_checkpoint(filled(tmp_path / "a.safetensors", layout, names))) == absence


def with_sums(path: Path, *sums: int | None) -> Checkpoint:
    """A torch file of two matrices of zeros for which these CRC-32 are written; the true one for None."""
    entries = {f"t{place}": tensor(of=storage(str(place))) for place in range(2)}
    rows = records(pickled(mapping(entries)), {str(place): bytes(len(NUMBERS)) for place in range(2)})
    rows = [row._replace(crc=sums[int(row.name[-1])]) if "/data/" in row.name else row for row in rows]
    path.write_bytes(archive(rows))
    return open_checkpoint(str(path))


def test_weights_that_no_sum_was_written_for_were_skipped(tmp_path: Path) -> None:
    assert absence_of_weights(with_sums(tmp_path / "a.ckpt", 0, 0)) == "skipped"
    assert absence_of_weights(with_sums(tmp_path / "a.ckpt", None, None)) == "zeros"


@pytest.mark.parametrize("sums", [(None, 0), (0, None), (None, None)])
def test_a_file_with_any_sum_does_not_lack_them(sums: tuple[int | None, ...], tmp_path: Path) -> None:
    assert not lacks_its_sums(with_sums(tmp_path / "a.ckpt", *sums))
    assert lacks_its_sums(with_sums(tmp_path / "b.ckpt", 0, 0))
