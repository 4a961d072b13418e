"""Which files a path stands for: itself, or every checkpoint below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.errors import UnreadableCheckpoint, UsageError
from viscy_compat.regular_files import read_small

INDEXES = (".safetensors.index.json", ".bin.index.json")
SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", *INDEXES)
"""Endings of the files that are looked at in a folder."""


def checkpoint_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield files as given, and the checkpoints below folders in a stable order."""
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = sorted(_checkpoints_below(path))
        if not found:
            endings = ", ".join(SUFFIXES)
            raise UsageError("no checkpoint below this folder", where=path, fix=f"looked for {endings}")
        yield from found


def _checkpoints_below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        # only an index that is looked at itself hides what it names
        indexes = [name for name in names if name.endswith(INDEXES)]
        shards = {shard for name in indexes for shard in _shards_of(os.path.join(place, name))}
        yield from (os.path.join(place, name) for name in names if name.endswith(SUFFIXES) and name not in shards)


def _shards_of(index: str) -> set[str]:
    """Return the shard files that an index names; they are read through it, and an index is never a shard."""
    from viscy_compat.checkpoint.safetensors_file import parsed_json

    try:
        raw = read_small(index, DEFAULT_LIMITS.header_bytes, "an index", error=UnreadableCheckpoint)
        named = parsed_json(raw, index).get("weight_map", {})
    except UnreadableCheckpoint:
        return set()
    values = named.values() if isinstance(named, dict) else ()
    return {name for name in values if isinstance(name, str) and not name.endswith(".json")}
