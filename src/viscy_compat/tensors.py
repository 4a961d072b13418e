"""Tensors of torch out of a checkpoint: read into memory of their own, or mapped from the file. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_char
from mmap import mmap
from zlib import crc32

import torch

from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.checkpoint.locations import is_address
from viscy_compat.checkpoint.tensor_bytes import TensorReader, damaged_storage
from viscy_compat.plans.streams import TargetTensor
from viscy_compat.rewrite.copies import BLOCK, Extent, extent_of_tensor
from viscy_compat.rewrite.shared_work import SharedWork
from viscy_compat.rewrite.write import WORTHWHILE


def read_tensors(targets: Sequence[TargetTensor], reader: TensorReader, *, maps_file: bool) -> dict[str, torch.Tensor]:
    """Return the tensors of a plan by name; the CRC of each storage that one is the whole of is verified.

    Parameters
    ----------
    targets : Sequence[TargetTensor]
        What is wanted.
    reader : TensorReader
        Of the source.
    maps_file : bool
        Whether those that are a plain run of bytes in a file of this machine are mapped from it.

    Raises
    ------
    UnreadableCheckpoint
        VC414 where a CRC differs; VC402 where the file changes.
    """
    readings = [_Reading(target) for target in targets]
    if maps_file:
        _map(readings, reader)
    for reading in readings:
        reading.make_room()
    distant = is_address(reader.checkpoint.path)
    threads = 2 if sum(target.nbytes for target in targets) >= WORTHWHILE and not distant else 1
    SharedWork(readings).run(lambda work: _read_all(work, reader), threads=threads)
    return {reading.target.name: reading.tensor for reading in readings if reading.tensor is not None}


class _Reading:
    """A tensor on its way: what it is, where a local file has it as it is, and the memory that is still to be filled."""

    __slots__ = ("extent", "memory", "target", "tensor")

    def __init__(self, target: TargetTensor) -> None:
        self.target = target
        self.extent = extent_of_tensor(target.same_as) if target.same_as is not None and target.nbytes else None
        self.tensor: torch.Tensor | None = None
        self.memory: memoryview | None = None

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.target.spec.dtype)
        return dtype

    def make_room(self) -> None:
        """Give it memory of its own, of torch's alignment, unless it is mapped."""
        if self.tensor is None:
            self.tensor = torch.empty(self.target.spec.shape, dtype=self.dtype)
            whole = (c_char * self.target.nbytes).from_address(self.tensor.data_ptr()) if self.target.nbytes else b""
            self.memory = memoryview(whole).cast("B")


def _map(readings: Sequence[_Reading], reader: TensorReader) -> None:
    """Map what is a plain run of aligned bytes; what another name has already gets memory of its own."""
    maps: dict[FileFacts, mmap] = {}
    storages_in_maps: set[int] = set()
    for reading in readings:
        extent, itemsize = reading.extent, reading.dtype.itemsize
        if extent is None or id(extent.storage) in storages_in_maps:
            continue
        file, start = extent.storage.file, reader.locate(extent.storage) + extent.first
        # torch reads numbers at addresses that are a multiple of their size
        if start % itemsize == 0:
            storages_in_maps.add(id(extent.storage))
            if file not in maps:
                maps[file] = reader.source(file).memory_map()
            flat = torch.frombuffer(maps[file], dtype=reading.dtype, count=extent.nbytes // itemsize, offset=start)
            reading.tensor = flat.reshape(reading.target.spec.shape)


def _read_all(work: SharedWork[_Reading], reader: TensorReader) -> None:
    scratch = memoryview(bytearray(BLOCK))
    with TensorReader(reader.checkpoint) as own:
        for reading in work.take():
            if reading.extent is not None:
                _read_extent(reading.extent, own, reading.memory, scratch)
            elif reading.memory is not None:
                place = 0
                # cast, joined or cut: its bytes are made piece by piece, and no storage has a CRC of them
                for chunk in reading.target.chunks(own):
                    reading.memory[place : place + len(chunk)] = chunk
                    place += len(chunk)
                if place != reading.target.nbytes:
                    raise AssertionError(f"{reading.target.name} has {reading.target.nbytes} bytes, and {place} came")


def _read_extent(extent: Extent, reader: TensorReader, memory: memoryview | None, scratch: memoryview) -> None:
    """Read an extent into memory, or, where that is a map of the file, only verify it, by reading it elsewhere."""
    verifies = extent.is_whole and extent.storage.crc is not None
    if memory is None and not verifies:
        return
    crc = 0
    for start in range(0, extent.nbytes, BLOCK):
        stop = min(start + BLOCK, extent.nbytes)
        block = scratch[: stop - start] if memory is None else memory[start:stop]
        reader.read_into(block, extent.storage, extent.first + start)
        crc = crc32(block, crc) if verifies else 0
    if verifies and crc != extent.storage.crc:
        raise damaged_storage(extent.storage)
