"""All storages of an archive are looked at together where they are as torch writes them, and one by one where any is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import (
    FLOATS,
    LONGS,
    NUMBERS,
    Record,
    archive,
    mapping,
    name,
    number,
    pickled,
    records,
    storage,
    tensor,
    text,
    tuple_of,
)
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import UnreadableTensor
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.rebuild import StorageView
from viscy_compat.checkpoint.torch_zip import decode_torch_zip

UNTYPED = name("torch.storage", "UntypedStorage")
HELD = {"0": NUMBERS, "1": NUMBERS}


def odd(of: bytes) -> bytes:
    """A file of one honest tensor, and of one over a storage of two that is stated in some way."""
    return pickled(mapping({"w": tensor(), "odd": tensor(of=of)}))


def read(tmp_path: Path, entries: list[Record]) -> Checkpoint:
    path = tmp_path / "a.ckpt"
    path.write_bytes(archive(entries))
    return open_checkpoint(str(path))


def identity(*parts: bytes) -> bytes:
    return tuple_of(*parts) + b"Q"


def test_honest_storages_are_known_without_a_look_at_each(tmp_path: Path) -> None:
    checkpoint = read(tmp_path, records(odd(storage("1")), HELD))
    assert checkpoint.plain_storages
    assert list(checkpoint.storages) == ["archive/data/0", "archive/data/1"]
    assert list(checkpoint.records) == [
        f"archive/{each}" for each in ("data.pkl", "byteorder", "data/0", "data/1", "version")
    ]
    for key, place in (("w", "archive/data/0"), ("odd", "archive/data/1")):
        held = checkpoint.tensors[key].storage
        assert held is checkpoint.storages[place] is checkpoint.records[place]
        assert (held.name, held.size, held.nbytes, held.start, held.compressed) == (place, 24, 24, -1, False)


def test_there_is_a_storage_for_each_id(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(archive(records(odd(storage("0")))))
    with ByteSource(str(path)) as source:
        file = decode_torch_zip(source, DEFAULT_LIMITS)
    # tied tensors have an id each
    assert len(file.storages) == 2
    assert len(file.records) == 4
    assert list(file.storages) == [id(node) for node in file.pickle.persistents]
    assert {each.storage.name for each in file.storages.values() if isinstance(each, StorageView)} == {"archive/data/0"}


def test_it_does_not_matter_where_a_storage_was(tmp_path: Path) -> None:
    nowhere = identity(text("storage"), FLOATS, text("1"), b"N", number(6))
    assert read(tmp_path, records(odd(nowhere), HELD)).plain_storages


def test_tied_tensors_share_one_storage(tmp_path: Path) -> None:
    checkpoint = read(tmp_path, records(odd(storage("0"))))
    assert checkpoint.plain_storages
    assert checkpoint.tensors["w"].storage is checkpoint.tensors["odd"].storage
    assert list(checkpoint.storages) == ["archive/data/0"]


WRONG = {
    "another word": (identity(text("storag"), FLOATS, text("1"), text("cpu"), number(6)), "VC440", "not torch's"),
    "four parts": (identity(text("storage"), FLOATS, text("1"), text("cpu")), "VC440", "not torch's"),
    "no tuple": (number(7) + b"Q", "VC440", "not torch's"),
    "a class of nobody": (storage("1", name("torch", "FlowStorage")), "VC441", "torch.FlowStorage"),
    "a class that is a text": (storage("1", text("FloatStorage")), "VC441", "unknown class (?)"),
    "quantised": (storage("1", name("torch", "QInt8Storage"), 24), "VC441", "quantised tensor (qint8)"),
    "a key that is a number": (identity(text("storage"), FLOATS, number(1), text("cpu"), number(6)), "VC440", "a key"),
    "true elements": (identity(text("storage"), FLOATS, text("1"), text("cpu"), b"\x88"), "VC440", "a size"),
    "too few elements": (storage("1", elements=5), "VC440", "states 5 elements and holds 24 bytes"),
    "negative": (storage("1", elements=-6), "VC440", "a size"),
    "not there": (storage("2"), "VC442", "'2' is not in the file"),
    "two dtypes": (storage("0", LONGS, 3), "VC440", "is called float32 and int64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_that_is_wrong_is_named_and_the_others_are_read(tmp_path: Path, case: str) -> None:
    of, code, reason = WRONG[case]
    checkpoint = read(tmp_path, records(odd(of), HELD))
    assert list(checkpoint.tensors) == ["w"]
    assert [(each.key, each.code) for each in checkpoint.unreadable] == [("odd", code)]
    assert reason in checkpoint.unreadable[0].reason
    assert not checkpoint.plain_storages


def test_a_wrong_one_outside_of_the_weights_is_found(tmp_path: Path) -> None:
    top = mapping({"state_dict": mapping({"w": tensor()}), "optimizer": mapping({"step": tensor(of=storage("9"))})})
    checkpoint = read(tmp_path, records(pickled(top)))
    assert [finding.code for finding in checkpoint.findings] == ["VC442"]
    assert list(checkpoint.tensors) == ["w"]


RIGHT = {
    "untyped": storage("1", UNTYPED, 24),
    "six parts": storage("1", FLOATS, 6, b"N"),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_other_releases_write_is_read_one_by_one(tmp_path: Path, case: str) -> None:
    checkpoint = read(tmp_path, records(odd(RIGHT[case]), HELD))
    assert list(checkpoint.storages) == ["archive/data/0", "archive/data/1"]
    assert not checkpoint.plain_storages
    unreadable: tuple[UnreadableTensor, ...] = checkpoint.unreadable
    assert not unreadable
    assert checkpoint.tensors["odd"].spec.shape == (2, 3)


def test_a_compressed_storage_is_counted(tmp_path: Path) -> None:
    entries = [
        each._replace(method=8) if each.name == "archive/data/1" else each for each in records(odd(storage("1")), HELD)
    ]
    checkpoint = read(tmp_path, entries)
    assert [held.compressed for held in checkpoint.storages.values()] == [False, True]
    assert not checkpoint.plain_storages


@pytest.mark.parametrize("without", ["archive/", "archive/data/"])
def test_storages_without_sums_have_none(tmp_path: Path, without: str) -> None:
    entries = [
        each._replace(crc=0) if each.name.startswith(without) else each for each in records(odd(storage("1")), HELD)
    ]
    checkpoint = read(tmp_path, entries)
    assert [held.crc for held in checkpoint.storages.values()] == [None, None]
    assert not checkpoint.plain_storages
