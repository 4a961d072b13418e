"""Which files a path stands for: itself, or every checkpoint below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from viscy_compat.errors import UsageError

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".safetensors.index.json", ".bin.index.json")
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
        shards = {
            shard for name in names if name.endswith(".index.json") for shard in _shards_of(os.path.join(place, name))
        }
        yield from (os.path.join(place, name) for name in names if name.endswith(SUFFIXES) and name not in shards)


def _shards_of(index: str) -> set[str]:
    """Return the shard files that an index names; they are read through it."""
    from json import load

    try:
        with open(index, encoding="utf-8") as file:
            named = load(file).get("weight_map", {})
        return {name for name in named.values() if isinstance(name, str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return set()
