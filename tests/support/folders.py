"""Folders of torch.distributed.checkpoint put together by hand, so that each part can lie, and folders that nobody may list."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.assembly import (
    built,
    call,
    list_of,
    mapping,
    name,
    number,
    numbers,
    pickled,
    storage,
    tensor,
    text,
    tuple_of,
    zipped,
)
from viscy_compat.layout import packed_strides

RECORDS = "torch.distributed.checkpoint.metadata"

Shape = tuple[int, ...]


class Block(NamedTuple):
    """A chunk of a tensor: where it begins, its values by rows, and what is said about it where that is not the truth."""

    offsets: Shape
    shape: Shape
    values: tuple[float, ...]
    file: str = "__0_0.distcp"
    said_offsets: Shape | None = None
    said_shape: Shape | None = None
    more: Mapping[str, bytes] = {}


class Entry(NamedTuple):
    """A tensor: its shape and its blocks."""

    shape: Shape
    blocks: tuple[Block, ...]
    dtype: str = "float32"


def whole(shape: Shape, values: tuple[float, ...]) -> Entry:
    """A tensor in one block."""
    return Entry(shape, (Block((0,) * len(shape), shape, values),))


def item(block: Block) -> bytes:
    """The torch file of one block."""
    held = storage(elements=len(block.values))
    return zipped(
        tensor(block.shape, packed_strides(block.shape), of=held),
        {"0": struct.pack(f"<{len(block.values)}f", *block.values)},
    )


def distributed(
    folder: Path,
    entries: Mapping[str, Entry],
    *,
    objects: Mapping[str, bytes] = {},
    more: bytes = b"",
    planner: bytes | None = None,
) -> Path:
    """Write a folder of tensors and, as pickles, of objects that are none.

    ``more`` is added to the fields of the metadata, ``planner`` replaces the places of the entries.
    """
    folder.mkdir()
    files: dict[str, bytes] = {}
    described, stored = {}, b""
    for key, entry in entries.items():
        for place, block in enumerate(entry.blocks):
            content, before = item(block), files.get(block.file, b"")
            files[block.file] = before + content
            stored += _index(key, block, place) + _info(block, len(before), len(content))
        described[key] = _described(entry)
    for place, (key, value) in enumerate(objects.items()):
        file, content = f"__{place}_1.distcp", zipped(value)
        files[file], described[key] = content, built(name(RECORDS, "BytesStorageMetadata"), mapping({}))
        stored += built(name(RECORDS, "MetadataIndex"), mapping({"fqn": text(key), "offset": b"N", "index": b"N"}))
        stored += _info(Block((), (), (), file), 0, len(content))
    for file, content in files.items():
        (folder / file).write_bytes(content)
    places = mapping({key: tuple_of(*map(text, key.split(".", 1))) for key in entries}) if planner is None else planner
    fields = mapping(
        {"state_dict_metadata": mapping(described), "planner_data": places, "storage_data": b"}(" + stored + b"u"}
    )
    (folder / ".metadata").write_bytes(pickled(built(name(RECORDS, "Metadata"), fields[:-1] + more + b"u"), 4))
    return folder


def _described(entry: Entry) -> bytes:
    chunks = [
        built(
            name(RECORDS, "ChunkStorageMetadata"),
            mapping(
                {"offsets": size(block.said_offsets or block.offsets), "sizes": size(block.said_shape or block.shape)}
            ),
        )
        for block in entry.blocks
    ]
    properties = built(name(RECORDS, "TensorProperties"), tuple_of(name("torch", entry.dtype), b"N"))
    fields = {"properties": properties, "size": size(entry.shape), "chunks": list_of(*chunks)}
    return built(name(RECORDS, "TensorStorageMetadata"), mapping(fields))


def _index(key: str, block: Block, place: int) -> bytes:
    fields = {"fqn": text(key), "offset": size(block.said_offsets or block.offsets), "index": number(place)}
    return built(name(RECORDS, "MetadataIndex"), mapping(fields))


def _info(block: Block, start: int, length: int) -> bytes:
    fields = {"relative_path": text(block.file), "offset": number(start), "length": number(length)}
    return built(name("torch.distributed.checkpoint.filesystem", "_StorageInfo"), mapping({**fields, **block.more}))


def size(shape: Shape) -> bytes:
    return call(name("torch", "Size"), numbers(*shape))


def close_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody list what is called ``shut``: permissions do not stop the user that tests often run as."""
    scan = os.scandir

    def refusing(place: str) -> Any:
        if os.path.basename(place) == "shut":
            raise PermissionError(13, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", refusing)
