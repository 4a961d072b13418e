"""Folders that torch's Hugging Face storage writer makes, each rank its part of every tensor.

Each ``shard-RANK-model-N-of-M.safetensors`` says in its metadata (``DCP_SHARDING_INFO``) where in the whole tensor its
part begins. The whole shape is stated nowhere: it is what the parts make up (torch 2.8 to 2.15).
"""

from __future__ import annotations

import os
import re

from viscy_compat.annotations import Any, Mapping
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.chunks import Chunk, ChunkedStorage, gap, refuse_gaps
from viscy_compat.checkpoint.facts import Checkpoint, StateDictSite, Storage, StoredTensor, Wrapper, unreadable_findings
from viscy_compat.checkpoint.folder import SHARD, place_of_shard, shard_names
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.objects_in_front import read_behind_objects
from viscy_compat.checkpoint.rebuild import is_count
from viscy_compat.checkpoint.safetensors_reader import SHARDING_INFO, parse_json, read_safetensors
from viscy_compat.checkpoint.wrapper import default_prefix
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec, packed_strides, quote_path


def read_distributed_safetensors(folder: str, limits: Limits) -> Checkpoint:
    """Read a folder; see `viscy_compat.checkpoint.open_checkpoint`.

    Raises
    ------
    UnreadableCheckpoint
        VC470 for a part that does not say where its tensors begin; VC471 for parts that do not fit together.
    """
    names = shard_names(folder)
    if len(names) > limits.shards:
        raise beyond(limits, "shards", len(names), f"{len(names)} files", where=folder)
    # every place before any reading: a link that leads out of the folder is refused at once
    places = {name: place_of_shard(folder, name, where=folder) for name in names}
    shards = {}
    for name, place in places.items():
        with ByteSource(place) as source:
            shards[name] = read_behind_objects(source, limits) or read_safetensors(source, limits)
            source.verify_unchanged()
    tensors = _whole_tensors(shards, folder)
    unreadable = tuple(tensor for shard in shards.values() for tensor in shard.unreadable)
    in_front = (finding for shard in shards.values() for finding in shard.findings if finding.code == "VC370")
    return Checkpoint(
        path=folder,
        format="distributed-safetensors",
        files=tuple(shard.files[0] for shard in shards.values()),
        tensors=tensors,
        unreadable=unreadable,
        wrapper=Wrapper("plain", default_prefix(tensors, "plain")),
        sites=(StateDictSite("", len(tensors)),),
        find_storages=lambda: _storages(shards),
        findings=(*in_front, *unreadable_findings(unreadable)),
    )


def _storages(shards: Mapping[str, Checkpoint]) -> dict[str, Storage]:
    return {f"{name}/{key}": storage for name, shard in shards.items() for key, storage in shard.storages.items()}


def offsets_in(metadata: Mapping[str, str], where: str) -> dict[str, tuple[int, ...]]:
    """Return where each tensor of a part begins in the whole one.

    Raises
    ------
    UnreadableCheckpoint
        VC470 where that is not stated as torch states it.
    """
    rows = parse_json(metadata.get(SHARDING_INFO, "{}").encode(), where, code="VC470")
    offsets: dict[str, Any] = {
        key: row.get("saved_offsets") if type(row) is dict else None for key, row in rows.items()
    }
    if not offsets or not all(type(place) is list and all(map(is_count, place)) for place in offsets.values()):
        raise UnreadableCheckpoint(
            f"its {SHARDING_INFO} does not say where its tensors begin",
            where=where,
            fix="copy the whole folder again",
            code="VC470",
        )
    return {key: tuple(place) for key, place in offsets.items()}


def _whole_tensors(shards: Mapping[str, Checkpoint], folder: str) -> dict[str, StoredTensor]:
    """Return the tensors that the parts make up: what is in one piece as it is, others over the storages of their pieces."""
    chunks: dict[str, list[Chunk]] = {}
    for name, shard in shards.items():
        offsets = offsets_in(shard.metadata, os.path.join(folder, name))
        for key, tensor in shard.tensors.items():
            chunks.setdefault(key, []).append(Chunk(offsets.get(key, (0,) * len(tensor.spec.shape)), tensor))
    tensors = {}
    for key, parts in chunks.items():
        first = parts[0].tensor
        # the whole shape is stated nowhere: along each axis it reaches as far as the last part does
        shape = tuple(max(ends) for ends in zip(*(_ends(part, folder, key) for part in parts), strict=True))
        spec = TensorSpec(shape, first.spec.dtype)
        refuse_gaps(spec, tuple(parts), where=folder, key=key)
        storage = ChunkedStorage(key, first.storage.file, spec, tuple(parts))
        whole = StoredTensor(key, spec, storage, stride=packed_strides(shape))
        tensors[key] = first if len(parts) == 1 else whole
    return tensors


def _ends(chunk: Chunk, folder: str, key: str) -> tuple[int, ...]:
    if len(chunk.offsets) != len(chunk.tensor.spec.shape):
        axes = len(chunk.tensor.spec.shape)
        raise gap(folder, f"{key[:80]!a} has {axes} axes and {len(chunk.offsets)} offsets")
    return tuple(start + size for start, size in zip(chunk.offsets, chunk.tensor.spec.shape, strict=True))


def refuse_lone_part(metadata: Mapping[str, str], path: str) -> None:
    """Refuse one part of a distributed checkpoint that is read for itself: its tensors are pieces.

    Raises
    ------
    UnreadableCheckpoint
        VC473, with the folder to read instead.
    """
    folder, name = os.path.split(path)
    alone = len(shard_names(folder or ".")) < 2 or not re.fullmatch(SHARD, name)
    if alone and not any(any(place) for place in offsets_in(metadata, path).values()):
        return
    raise UnreadableCheckpoint(
        "this is one rank's part of a distributed checkpoint; its tensors are pieces",
        where=path,
        fix=f"give the folder: viscy-compat check {quote_path(folder or '.')}",
        code="VC473",
    )
