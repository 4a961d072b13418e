"""Sharded checkpoints: a ``*.index.json`` that says which tensor is in which file of the same folder."""

from __future__ import annotations

import os

from viscy_compat.annotations import Callable, NoReturn
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import Checkpoint, StateDictSite, StoredTensor, Wrapper, unreadable_findings
from viscy_compat.checkpoint.folder import broken_index, name_of_shard, place_of_shard
from viscy_compat.checkpoint.foreign import foreign
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.safetensors_reader import parse_json
from viscy_compat.checkpoint.state_dicts import several_state_dicts
from viscy_compat.checkpoint.wrapper import default_prefix
from viscy_compat.errors import UnreadableCheckpoint

ReadCheckpoint = Callable[[str], Checkpoint]


def read_sharded(source: ByteSource, limits: Limits, read: ReadCheckpoint) -> Checkpoint:
    """Read an index and, with a given reader, its shards; see `viscy_compat.checkpoint.open_checkpoint`."""
    path = source.path
    shards = _shards_of(source, limits)
    checkpoints = {name: _read_shard(path, name, read) for name in shards}
    kinds = {"safetensors" if shard.format == "safetensors" else "torch" for shard in checkpoints.values()}
    # no writer mixes them, and a reader of either kind would leave half of the tensors out
    if len(kinds) != 1:
        raise broken_index(path, "its shards are of two kinds")
    tensors = _join_shards(path, shards, checkpoints)
    unreadable = tuple(tensor for shard in checkpoints.values() for tensor in shard.unreadable)
    # VC44x are about one file's own state dicts and tensors; of the latter is said below what concerns the whole
    findings = [finding for shard in checkpoints.values() for finding in shard.findings if finding.code[:4] != "VC44"]
    # now, and not when they are asked for: the graphs of the shards would be kept until then
    storages = {
        f"{name}/{key}": storage for name, shard in checkpoints.items() for key, storage in shard.storages.items()
    }
    globals_ = {use.path: use for shard in checkpoints.values() for use in shard.globals}
    return Checkpoint(
        path=path,
        format="sharded-safetensors" if kinds == {"safetensors"} else "sharded-torch",
        files=(source.facts, *(shard.files[0] for shard in checkpoints.values())),
        tensors=tensors,
        unreadable=unreadable,
        extras={key: node for shard in checkpoints.values() for key, node in shard.extras.items()},
        wrapper=Wrapper("plain", default_prefix(tensors, "plain")),
        sites=(StateDictSite("", len(tensors)),),
        globals=tuple(globals_.values()),
        find_storages=lambda: storages,
        checked_crcs=tuple(record for shard in checkpoints.values() for record in shard.checked_crcs),
        findings=(*findings, *unreadable_findings(unreadable)),
    )


def _shards_of(source: ByteSource, limits: Limits) -> dict[str, list[str]]:
    """Return the keys of each shard, as the index has them."""
    path = source.path
    if source.size > limits.header_bytes:
        raise beyond(limits, "header_bytes", source.size, f"the index has {source.size} bytes", where=path)
    raw = source.read(0, source.size)
    index = parse_json(raw, path, code="VC460")
    if "weight_map" not in index:
        raise foreign(raw[:512], path, source.size)
    weights = index["weight_map"]
    if index.keys() - {"metadata", "weight_map"} or type(weights) is not dict or not weights:
        raise broken_index(path, "it must hold 'weight_map', 'metadata' and nothing else")
    shards: dict[str, list[str]] = {}
    for key, name in weights.items():
        shards.setdefault(name_of_shard(path, name), []).append(key)
    for name, count, what in (("shards", len(shards), "files"), ("tensors", len(weights), "tensors")):
        if count > getattr(limits, name):
            raise beyond(limits, name, count, f"{count} {what}", where=path)
    return shards


def _read_shard(path: str, name: str, read: ReadCheckpoint) -> Checkpoint:
    """Read one shard, which must be a file of its own and no link: a link leads out of the folder."""
    place = place_of_shard(os.path.dirname(path), name, where=path)
    if name.endswith(".json"):
        raise broken_index(path, f"the shard {name!a} is an index itself")
    shard = read(place)
    if not shard.decided:
        raise several_state_dicts(shard)
    return shard


def _join_shards(
    path: str, shards: dict[str, list[str]], checkpoints: dict[str, Checkpoint]
) -> dict[str, StoredTensor]:
    """Return the tensors in the order of the index; each is in the shard that the index names, and in no other."""
    places: dict[str, str] = {}
    for name, shard in checkpoints.items():
        for key in (*shard.tensors, *(tensor.key for tensor in shard.unreadable)):
            if key in places:
                _clash(path, f"{key[:80]!a} is in the shards {places[key]!a} and {name!a}")
            places[key] = name
    # loaders open the files that the index names, and look for a key where it says
    by_index = {key: name for name, keys in shards.items() for key in keys}
    for name, shard in checkpoints.items():
        # the index lists the objects in front of the tensors among them
        objects = [key for key in shards[name] if key not in places] if shard.objects_in_front else []
        if objects and len(objects) == shard.objects_in_front:
            by_index = {key: place for key, place in by_index.items() if key not in objects}
    if places != by_index:
        key = min(places.keys() ^ by_index.keys() or {key for key in places if places[key] != by_index[key]})
        _clash(path, f"{key[:80]!a} is in {places.get(key, 'no shard')!a}, and the index says {by_index.get(key)!a}")
    return {key: tensor for name in checkpoints for key, tensor in checkpoints[name].tensors.items()}


def _clash(path: str, what: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"index and shards disagree: {what}", where=path, fix="fetch index and shards of one revision", code="VC463"
    )
